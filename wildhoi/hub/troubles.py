"""What goes wrong with the Hub, the line or the disk, each as one message that says the way out."""

import errno
import json

from wildhoi.errors import InputError, MissingAssetError, RunError, WildhoiError
from wildhoi.hub.naming import Asked, access_url, endpoint, is_offline

LOGIN = "run `hf auth login` or set HF_TOKEN"
AGAIN = "run the same command again, what is finished is kept"
FULL = (errno.ENOSPC, errno.EDQUOT)


def explain(error: BaseException, asked: Asked) -> WildhoiError:
    """The message for an error that `huggingface_hub`, the line or the disk has raised."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RevisionResolutionError,
    )

    if isinstance(error, HfHubHTTPError):
        return _refused(error, asked)
    if is_offline() or isinstance(error, OfflineModeIsEnabled) or isinstance(error.__cause__, OfflineModeIsEnabled):
        return offline(asked)
    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        return explain(error.__cause__, asked)
    if isinstance(error, RevisionResolutionError):
        return offline(asked) if error.__cause__ is None else explain(error.__cause__, asked)
    if isinstance(error, OSError) and error.errno is not None:
        return _disk(error, asked)
    if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError):
        return InputError(f"{asked}: refused before it was sent: {_line(error)}")
    return RunError(
        f"{asked}: {endpoint()} cannot be reached or broke off ({type(error).__name__}: {_line(error)}); check the "
        f"connection, a proxy and HF_ENDPOINT, then {AGAIN}"
    )


def line_error() -> type[Exception]:
    """The root error of the HTTP library, whichever one this version of `huggingface_hub` stands on."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0]


def is_logged_in() -> bool:
    """Whether there is a token to send, good or not."""
    from huggingface_hub import get_token

    return get_token() is not None


def offline(asked: Asked) -> MissingAssetError:
    """Requests are forbidden and something is not at hand."""
    return MissingAssetError(
        f"{asked}: {endpoint()} would have to be asked, and HF_HUB_OFFLINE forbids it (what lies here is absent, "
        "incomplete or of another revision); unset it and run the same command again"
    )


def _absent(asked: Asked, *, logged_in: bool) -> MissingAssetError:
    """No such repository, or a private one; the Hub does not tell which."""
    closed = "or it is private and your login may not see it" if logged_in else f"or it is private: then {LOGIN}"
    if asked.kind == "model":
        return MissingAssetError(f"{asked}: there is no such repository on {endpoint()} ({closed})")
    release = "{wildhoi,behave,rhobin}" if "/" in asked.name else asked.name
    return MissingAssetError(
        f"{asked}: there is no such data set on {endpoint()} ({closed}); while no copy is public, make your own from "
        f"the raw release: `wildhoi data convert {release} RAW --out DIR`"
    )


def _refused(error: BaseException, asked: Asked) -> WildhoiError:
    """The Hub has answered, and the answer is no."""
    from huggingface_hub import errors

    assert isinstance(error, errors.HfHubHTTPError)
    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return _gated(asked, logged_in=is_logged_in())
    if isinstance(error, errors.RepositoryNotFoundError):
        return _absent(asked, logged_in=is_logged_in())
    if isinstance(error, errors.DisabledRepoError):
        return MissingAssetError(
            f"{asked}: the Hub has disabled this repository; see {access_url(asked.repository, asked.kind)}"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return RunError(f"{asked}: lists a file that it does not hold ({error.response.url}); tell its owners")
    if status == 401:
        return MissingAssetError(f"{asked}: {endpoint()} does not know your token; {LOGIN} (a new one)")
    if status == 403:
        return MissingAssetError(
            f"{asked}: your login may not do this; {LOGIN} with a token that may (to publish: one with write access)"
        )
    if status == 412:
        return RunError(f"{asked}: someone else has changed it meanwhile; look at it, then run the same command again")
    said = error.server_message or error.response.reason_phrase
    return RunError(f"{asked}: {endpoint()} answers {status} ({said}); wait a little, then {AGAIN}")


def _gated(asked: Asked, *, logged_in: bool) -> MissingAssetError:
    """The terms are not accepted, or not yet granted."""
    page = access_url(asked.repository, asked.kind)
    if logged_in:
        way = f"your login has no access (yet): ask for it at {page}; where its owners decide, wait for their answer"
    else:
        way = f"you are not logged in: accept its terms at {page}, then {LOGIN}"
    return MissingAssetError(f"{asked} is gated, and {way}")


def _disk(error: OSError, asked: Asked) -> RunError:
    """The disk refuses."""
    where = error.filename2 or error.filename or "the folder"
    if error.errno in FULL:
        return RunError(f"{asked}: the disk is full at {where}; make room, then {AGAIN}")
    return RunError(
        f"{asked}: {where} cannot be read or written ({error.strerror}); mend that or choose another folder"
    )


def _line(error: BaseException) -> str:
    """An error's words on one line."""
    return " ".join(str(error).split())
