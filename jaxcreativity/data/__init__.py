"""Images to train on and images held out, by name, folder or file."""

from jaxcreativity.data.loading import Dataset, load

__all__ = ["Dataset", "load"]
