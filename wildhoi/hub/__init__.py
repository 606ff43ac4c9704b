"""The Hugging Face Hub: data folders and submissions, down and up; the only importer of `huggingface_hub`."""

from wildhoi.hub.committing import Change
from wildhoi.hub.downloading import Downloaded, download
from wildhoi.hub.naming import access_url, repository
from wildhoi.hub.publishing import Published, push_files
from wildhoi.hub.pushing import Pushed, push
from wildhoi.hub.remote import fetch, list_names, resolve

__all__ = [
    "Change",
    "Downloaded",
    "Published",
    "Pushed",
    "access_url",
    "download",
    "fetch",
    "list_names",
    "push",
    "push_files",
    "repository",
    "resolve",
]
