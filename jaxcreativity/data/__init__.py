"""What the models learn: real images by name, folder or file, and synthetic targets whose law is known exactly."""

from jaxcreativity.data import synthetic
from jaxcreativity.data.images import Dataset, load

__all__ = ["Dataset", "load", "synthetic"]
