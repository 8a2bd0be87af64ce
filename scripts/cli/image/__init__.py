"""Pixel models: trained on drawn pictures, or imported."""
