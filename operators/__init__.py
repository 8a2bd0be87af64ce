"""What holds state or talks to an engine: Logic classes and, beside each, a thin Flink shell."""
