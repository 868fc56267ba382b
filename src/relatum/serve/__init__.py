"""A store as a web service: search over HTTP, and a page to look around in."""

from relatum.serve.app import create_app
from relatum.serve.guard import Limits
from relatum.serve.run import serve

__all__ = ["Limits", "create_app", "serve"]
