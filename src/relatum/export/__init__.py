"""Models for others' tools; `.onnx`, `.sentence` and `.mteb` stand apart, as they need packages."""

from relatum.export.hub import from_pretrained, push_to_hub, save_pretrained
from relatum.export.vectors import export_vectors

__all__ = ["export_vectors", "from_pretrained", "push_to_hub", "save_pretrained"]
