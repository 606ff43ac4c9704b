"""A Hugging Face Hub in one process: repositories with history, tags, gates, uploads, pull requests, and a bad line.

    with HubServer() as hub:
        first = hub.add("wildhoi/wildhoi", {"README.md": b"..."}, gate="manual")
        hub.tag("wildhoi/wildhoi", "v1", first)
        ... with HF_ENDPOINT=hub.url and HF_TOKEN=hub.READER

A model's repository is called `models/OWNER/NAME` here, a data set's `OWNER/NAME`.
Contents live in memory and are never changed: a commit is a new mapping, so old commits stay readable by hash and tag.
Four people are known: `WRITER` may do everything, `READER` may read gated and private repositories, `PENDING` has asked
for access and waits, `STRANGER` is logged in and nothing more. Any other token is refused as invalid.
Uploads speak the LFS protocol only: set HF_HUB_DISABLE_XET=1. What a gate hides has two readings here: contents but not
listings (the default), or both (`gated_listing=True`).
"""

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub.constants

Files = Mapping[str, bytes]
DATE = "2025-01-01T00:00:00.000Z"
NAME = r"(?P<name>[^/]+/[^/]+)"
KIND = r"(?P<kind>datasets|models)"
MODELS = "models/"  # before the name of a repository that is no data set's
PAGE = rf"(?:(?P<kind>datasets)/)?{NAME}"  # whose addresses outside the API name no kind where it is a model
REVISION = r"(?P<revision>[^/]+)"


def git_blob(content: bytes) -> str:
    """The hash that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    """The hash that LFS gives a file."""
    return hashlib.sha256(content).hexdigest()


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a folder as repository contents; hidden ones are left out."""
    names = {path: path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): path.read_bytes()
        for path, name in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


@dataclass
class Repository:
    """One repository: every commit it ever had, where `main` is, its tags, pull requests and settings."""

    commits: dict[str, Files] = field(default_factory=dict)
    main: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    pulls: list[str] = field(default_factory=list)
    gate: str | bool = False
    private: bool = False

    def commit(self, files: Files, *, pull: bool = False) -> str:
        """Move main to new contents, or open a pull request with them, and return the commit's hash."""
        listing = json.dumps([self.main, *sorted((name, sha256(content)) for name, content in files.items())])
        made = hashlib.sha1(listing.encode()).hexdigest()
        self.commits[made] = dict(files)
        if pull:
            self.pulls.append(made)
        else:
            self.main = made
        return made

    def find(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a hash names."""
        if revision in ("main", "refs/heads/main"):
            return self.main
        found = self.tags.get(revision, revision)
        return found if found in self.commits else None


@dataclass
class Trouble:
    """What goes wrong when a file is asked for; each kind happens `times` times, a negative number means always."""

    times: int = 1
    cut_after: int | None = None
    corrupt: bool = False
    status: int | None = None
    hold: threading.Event | None = None


class HubServer(ThreadingHTTPServer):
    """The server; a context manager that listens on a free port of this machine."""

    WRITER, READER, PENDING, STRANGER = "hf_writer", "hf_reader", "hf_pending", "hf_stranger"
    daemon_threads = True

    def __init__(self, *, page: int = 1000, gated_listing: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.page = page
        self.gated_listing = gated_listing
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.troubles: dict[str, Trouble] = {}
        self.asked: threading.Semaphore = threading.Semaphore(0)
        self.lock = threading.RLock()

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for trouble in self.troubles.values():
            if trouble.hold:
                trouble.hold.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""

    def add(self, name: str, files: Files | Path, *, gate: str | bool = False, private: bool = False) -> str:
        """Make a repository, or the next commit of one, from contents or a folder; returns the commit."""
        contents = read_folder(files) if isinstance(files, Path) else files
        repository = self.repositories.setdefault(name, Repository())
        repository.gate, repository.private = gate, private
        return repository.commit({".gitattributes": b"*.parquet filter=lfs\n", **contents})

    def tag(self, name: str, tag: str, commit: str | None = None) -> None:
        """Name a commit; main's where none is given."""
        self.repositories[name].tags[tag] = commit or self.repositories[name].main

    def files(self, name: str, revision: str = "main") -> Files:
        """What a repository holds at a revision."""
        repository = self.repositories[name]
        return repository.commits[repository.find(revision) or ""]

    def trouble(self, path: str, **kind: Any) -> Trouble:
        """Spoil the contents of a file: see `Trouble`."""
        self.troubles[path] = Trouble(**kind)
        return self.troubles[path]

    def take_trouble(self, path: str) -> Trouble | None:
        """The trouble that this request meets, counted down."""
        with self.lock:
            trouble = self.troubles.get(path)
            if trouble is None or trouble.times == 0:
                return None
            trouble.times -= 1
            return trouble

    def fetched(self) -> list[str]:
        """The files whose contents were asked for, in order, once each."""
        found = [re.fullmatch(r"GET /datasets/[^/]+/[^/]+/resolve/[^/]+/(\S+).*", line) for line in self.requests]
        return list(dict.fromkeys(match[1] for match in found if match))


@contextmanager
def own_hub(tmp_path: Path, monkeypatch: Any, **settings: Any) -> Iterator[HubServer]:
    """A server, and an environment that knows no other Hub and nobody's login; waiting takes no time."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "WILDHOI_HUB_OWNER"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    places = {"HF_TOKEN_PATH": home / "token", "HF_STORED_TOKENS_PATH": home / "tokens", "HF_HUB_CACHE": home / "hub"}
    for name, value in {**places, "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(huggingface_hub.constants, name, str(value) if isinstance(value, Path) else value)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with HubServer(**settings) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@dataclass
class Refusal(Exception):
    """An answer that is an error, as the Hub words it."""

    status: int
    code: str = ""
    message: str = ""


Route = Callable[["Handler", dict[str, str]], None]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for the client's acknowledgement of its head
    server: HubServer
    routes: ClassVar[list[tuple[str, re.Pattern[str], Route]]] = []

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def answer_request(self) -> None:
        """Find the route and answer; what is not known is a 404 that says so."""
        address = urlsplit(self.path)
        self.query = parse_qs(address.query)
        with self.server.lock:
            self.server.requests.append(
                f"{self.command} {unquote(address.path)} {self.headers.get('Range', '')}".rstrip()
            )
        self.body = self.read_body()
        method = "GET" if self.command == "HEAD" else self.command
        try:
            self.require_known_token()
            for verb, pattern, route in self.routes:
                if verb == method and (match := pattern.fullmatch(address.path)):
                    asked = {key: unquote(value or "") for key, value in match.groupdict().items()}
                    if "name" in asked and asked["kind"] != "datasets":
                        asked["name"] = f"{MODELS}{asked['name']}"
                    return route(self, asked)
            raise Refusal(404, message=f"no such route: {method} {address.path}")
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            self.answer({"error": refusal.message}, refusal.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = answer_request

    def read_body(self) -> bytes:
        """The request's body, chunked or not."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def token(self) -> str:
        """Who asks."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def require_known_token(self) -> None:
        """Refuse a token that nobody has, whatever is asked."""
        known = ("", HubServer.WRITER, HubServer.READER, HubServer.PENDING, HubServer.STRANGER)
        if self.token() not in known:
            raise Refusal(401, message="Invalid credentials in Authorization header")

    def require_writer(self, *, pull: bool = False) -> None:
        """Refuse who may not write; a pull request may be anybody's who is logged in."""
        if not self.token():
            raise Refusal(401, message="Invalid username or password.")
        if self.token() != HubServer.WRITER and not pull:
            raise Refusal(403, message="you do not have the required permissions")

    def repository(self, name: str, *, contents: bool) -> Repository:
        """A repository that may be seen; with `contents`, one whose files may be read."""
        found = self.server.repositories.get(name)
        trusted = self.token() in (HubServer.WRITER, HubServer.READER)
        if found is None or (found.private and not trusted):
            raise Refusal(404 if self.token() else 401, "RepoNotFound", "Repository not found")
        if found.gate and contents and not trusted:
            message = f"Access to {name} is restricted."
            raise Refusal(403 if self.token() else 401, "GatedRepo", message)
        return found

    def revision(self, found: Repository, revision: str) -> str:
        """The commit of a revision."""
        commit = found.find(revision)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """Register what answers a method and a path."""

    def register(function: Route) -> Route:
        Handler.routes.append((method, re.compile(pattern), function))
        return function

    return register


# ---- reading -------------------------------------------------------------------------------------------------------


def is_large(path: str) -> bool:
    """Whether a file is kept in LFS."""
    return path.endswith((".parquet", ".npz", ".ply"))


def entry(path: str, content: bytes) -> dict[str, Any]:
    """A file in a listing."""
    about: dict[str, Any] = {"type": "file", "path": path, "oid": git_blob(content), "size": len(content)}
    if is_large(path):
        about["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
    return about


def folder_entry(path: str) -> dict[str, Any]:
    """A folder in a listing."""
    return {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}


@route("GET", "/api/whoami-v2")
def whoami(self: Handler, asked: dict[str, str]) -> None:
    if not self.token():
        raise Refusal(401, message="Invalid username or password.")
    role = "write" if self.token() == HubServer.WRITER else "read"
    self.answer({"type": "user", "name": self.token(), "orgs": [], "auth": {"accessToken": {"role": role}}})


@route("GET", f"/api/{KIND}/{NAME}(/revision/{REVISION})?")
def info(self: Handler, asked: dict[str, str]) -> None:
    found = self.repository(asked["name"], contents=False)
    commit = self.revision(found, asked["revision"] or "main")
    siblings = [{"rfilename": path} for path in sorted(found.commits[commit])]
    about = {"id": asked["name"], "_id": "0", "sha": commit, "private": found.private, "gated": found.gate}
    self.answer({**about, "disabled": False, "tags": [], "lastModified": DATE, "siblings": siblings, "usedStorage": 0})


@route("GET", f"/api/{KIND}/{NAME}/auth-check")
def auth_check(self: Handler, asked: dict[str, str]) -> None:
    self.repository(asked["name"], contents=True)
    self.answer({})


@route("GET", f"/api/{KIND}/{NAME}/refs")
def refs(self: Handler, asked: dict[str, str]) -> None:
    found = self.repository(asked["name"], contents=False)
    branches = [{"name": "main", "ref": "refs/heads/main", "targetCommit": found.main}]
    tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": commit} for tag, commit in found.tags.items()]
    self.answer({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})


@route("GET", f"/api/{KIND}/{NAME}/tree/{REVISION}(/(?P<folder>.+))?")
def tree(self: Handler, asked: dict[str, str]) -> None:
    found = self.repository(asked["name"], contents=self.server.gated_listing)
    commit = self.revision(found, asked["revision"])
    files = found.commits[commit]
    prefix = f"{asked['folder']}/" if asked["folder"] else ""
    inside = [path for path in files if path.startswith(prefix)]
    if prefix and not inside:
        raise Refusal(404, "EntryNotFound", f"{asked['folder']} does not exist on {asked['revision']}")
    whole = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    folders = {path[: len(prefix) + at.start()] for path in inside for at in re.finditer("/", path[len(prefix) :])}
    listed = [folder_entry(path) for path in folders]
    listed += [entry(path, files[path]) for path in inside]
    here = [item for item in listed if whole or "/" not in item["path"][len(prefix) :]]
    here.sort(key=lambda item: item["path"])
    start = int(self.query.get("cursor", ["0"])[0])
    stop = start + self.server.page
    recursive = "&recursive=True" if whole else ""
    after = f'<{self.server.url}{urlsplit(self.path).path}?cursor={stop}{recursive}>; rel="next"'
    self.answer(here[start:stop], headers={"Link": after} if stop < len(here) else {})


@route("POST", f"/api/{KIND}/{NAME}/paths-info/{REVISION}")
def paths_info(self: Handler, asked: dict[str, str]) -> None:
    found = self.repository(asked["name"], contents=self.server.gated_listing)
    files = found.commits[self.revision(found, asked["revision"])]
    form = self.body[:1] != b"{"
    wanted = parse_qs(self.body.decode()).get("paths", []) if form else json.loads(self.body)["paths"]
    folders = [path for path in wanted if any(name.startswith(f"{path}/") for name in files)]
    listed = [folder_entry(path) for path in folders]
    self.answer(listed + [entry(path, files[path]) for path in wanted if path in files])


@route("GET", rf"/{PAGE}/resolve/{REVISION}/(?P<path>.+)")
def resolve(self: Handler, asked: dict[str, str]) -> None:
    found = self.repository(asked["name"], contents=True)
    commit = self.revision(found, asked["revision"])
    path = asked["path"]
    content = found.commits[commit].get(path)
    if content is None:
        return self.answer(b"Entry not found", 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
    trouble = None if self.command == "HEAD" else self.server.take_trouble(path)
    if trouble and trouble.hold:
        self.server.asked.release()
        trouble.hold.wait(60)
    if trouble and trouble.status:
        raise Refusal(trouble.status, message="in trouble")
    name = sha256(content) if is_large(path) else git_blob(content)
    headers = {"ETag": f'"{name}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    if is_large(path):
        headers |= {"X-Linked-ETag": f'"{name}"', "X-Linked-Size": str(len(content))}
    if trouble and trouble.corrupt:
        content = bytes(255 - byte for byte in content)
    send_range(self, content, headers, trouble)


def send_range(self: Handler, content: bytes, headers: dict[str, str], trouble: Trouble | None) -> None:
    """Send the bytes that were asked for, or as many as the line lets through."""
    start, stop, status = 0, len(content), 200
    if match := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
        first, last = match.groups()
        start = int(first) if first else max(0, len(content) - int(last))
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= len(content):
            raise Refusal(416, message=f"bytes */{len(content)}")
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        status = 206
    if trouble is None or trouble.cut_after is None:
        return self.answer(content[start:stop], status, headers)
    self.send_response(status)
    for key, value in {"Content-Length": str(stop - start), **headers}.items():
        self.send_header(key, value)
    self.end_headers()
    self.wfile.write(content[start:stop][: trouble.cut_after])
    self.wfile.flush()
    self.connection.shutdown(socket.SHUT_RDWR)
    self.close_connection = True


# ---- writing -------------------------------------------------------------------------------------------------------


def page(self: Handler, name: str) -> str:
    """The address of a repository's page."""
    kind, known = ("", name.removeprefix(MODELS)) if name.startswith(MODELS) else ("datasets/", name)
    return f"{self.server.url}/{kind}{known}"


@route("POST", "/api/repos/create")
def create(self: Handler, asked: dict[str, str]) -> None:
    self.require_writer()
    wanted = json.loads(self.body)
    kind = "" if wanted.get("type") == "dataset" else MODELS
    name = f"{kind}{wanted.get('organization') or self.token()}/{wanted['name']}"
    new = name not in self.server.repositories
    if new:
        self.server.add(name, {}, private=wanted.get("visibility") == "private" or bool(wanted.get("private")))
    self.answer({"url": page(self, name), "name": name.removeprefix(MODELS), "id": "0"}, 200 if new else 409)


@route("PUT", f"/api/{KIND}/{NAME}/settings")
def settings(self: Handler, asked: dict[str, str]) -> None:
    self.require_writer()
    found = self.repository(asked["name"], contents=False)
    wanted = json.loads(self.body)
    found.gate = wanted.get("gated", found.gate)
    found.private = wanted.get("visibility", "private" if found.private else "public") == "private"
    self.answer({"gated": found.gate, "private": found.private})


@route("POST", "/api/validate-yaml")
def validate_yaml(self: Handler, asked: dict[str, str]) -> None:
    self.answer({"errors": [], "warnings": []})


@route("POST", f"/api/{KIND}/{NAME}/preupload/{REVISION}")
def preupload(self: Handler, asked: dict[str, str]) -> None:
    self.require_writer(pull="create_pr" in self.query)
    found = self.repository(asked["name"], contents=True)
    held = found.commits[self.revision(found, asked["revision"])]
    answers = []
    for item in json.loads(self.body)["files"]:
        path = item["path"]
        name = (sha256 if is_large(path) else git_blob)(held[path]) if path in held else None
        mode = "lfs" if is_large(path) else "regular"
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": name})
    self.answer({"files": answers})


@route("POST", rf"/{PAGE}\.git/info/lfs/objects/batch")
def lfs_batch(self: Handler, asked: dict[str, str]) -> None:
    self.require_writer(pull=True)  # which it does not say
    self.repository(asked["name"], contents=True)
    objects = [{**item, "authenticated": True} for item in json.loads(self.body)["objects"]]
    for item in objects:
        if item["oid"] not in self.server.stored:
            item["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{item['oid']}"}}
    self.answer({"transfer": "basic", "objects": objects})


@route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
def lfs_store(self: Handler, asked: dict[str, str]) -> None:
    if sha256(self.body) != asked["oid"]:
        raise Refusal(400, message="the content is not what its name says")
    self.server.stored[asked["oid"]] = self.body
    self.answer(b"")


@route("POST", f"/api/{KIND}/{NAME}/commit/{REVISION}")
def commit(self: Handler, asked: dict[str, str]) -> None:
    pull = "create_pr" in self.query
    self.require_writer(pull=pull)
    found = self.repository(asked["name"], contents=True)
    files = dict(found.commits[self.revision(found, asked["revision"])])
    for line in self.body.splitlines():
        operation = json.loads(line)
        what, value = operation["key"], operation["value"]
        if what == "header" and value.get("parentCommit") not in (None, found.main):
            raise Refusal(412, message="A commit has happened since. Please refresh and try again.")
        if what == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif what == "lfsFile":
            files[value["path"]] = self.server.stored[value["oid"]]
        elif what == "deletedFile":
            del files[value["path"]]
        elif what == "deletedFolder":
            files = {path: content for path, content in files.items() if not path.startswith(value["path"])}
    made, address = found.commit(files, pull=pull), page(self, asked["name"])
    answer = {"commitUrl": f"{address}/commit/{made}", "commitOid": made, "hookOutput": "", "success": True}
    self.answer(answer | ({"pullRequestUrl": f"{address}/discussions/{len(found.pulls)}"} if pull else {}))


@route("POST", f"/api/{KIND}/{NAME}/tag/{REVISION}")
def tag(self: Handler, asked: dict[str, str]) -> None:
    self.require_writer()
    found = self.repository(asked["name"], contents=False)
    target = self.revision(found, asked["revision"])
    name = json.loads(self.body)["tag"]
    if name in found.tags:
        raise Refusal(409, message=f"Tag reference exists already: {name}")
    found.tags[name] = target
    self.answer({})
