"""Stateless, engine-free work on batches of uploads. Nothing here knows Flink, Kafka or Redis."""
