"""The Hugging Face Hub: finding, downloading and publishing data folders; the only importer of `huggingface_hub`."""

from wildhoi.hub.downloading import Downloaded, download
from wildhoi.hub.naming import access_url, repository
from wildhoi.hub.pushing import Change, Pushed, push
from wildhoi.hub.remote import fetch, list_names, resolve

__all__ = [
    "Change",
    "Downloaded",
    "Pushed",
    "access_url",
    "download",
    "fetch",
    "list_names",
    "push",
    "repository",
    "resolve",
]
