"""What can go wrong with a PostgreSQL, in our words."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alexandria.domain.errors import AlexandriaError
from alexandria.domain.late import LateModule

if TYPE_CHECKING:
    import asyncpg
else:
    asyncpg = LateModule("asyncpg")


class DatabaseError(AlexandriaError):
    """Root of the errors of the server; each adapter turns them into those of its port."""


class InsecureAddressError(DatabaseError):
    """The address would send the password and the data in the clear."""


class MalformedAddressError(DatabaseError):
    """The address is no address of a database."""


class DatabaseUnreachableError(DatabaseError):
    """No connection, no answer in time, or the connection broke. Whether a write happened is not known."""


class DatabaseBusyError(DatabaseError):
    """The server takes no more connections, or another transaction was in the way. Nothing was written."""


class StatementTimeoutError(DatabaseError):
    """A statement ran for longer than it may, or waited so long for a lock. Nothing was written."""


class DatabaseFullError(DatabaseError):
    """The disk or a quota of the server is full; the transaction left nothing behind."""


class AccessDeniedError(DatabaseError):
    """The server answers and refuses: user, password, or a right that is missing; or its certificate is wrong."""


class DatabaseMissingError(DatabaseError):
    """The server answers and has no database of this name."""


class NotMigratedError(DatabaseError):
    """Our tables are not there, or are those of an older version."""


class DatabaseVersionError(DatabaseError):
    """Our tables are those of a newer version."""


class ExtensionMissingError(DatabaseError):
    """The server does not have the extension pgvector."""


class DataRefusedError(DatabaseError):
    """A value does not fit its column: the tables were made by something else, or a vector is not finite."""


TRANSIENT = (DatabaseUnreachableError, DatabaseBusyError)
"""Errors after which the same transaction may go well in a moment."""

WRONG_VERSION = "AX001"
"""SQLSTATE that our own look at the version raises; the message is the version that was found."""


@dataclass(frozen=True, slots=True)
class PortErrors:
    """Which errors a port has for what can happen.

    Attributes:
        unavailable: For what a later try may not meet again.
        access: For `AccessDeniedError`, `DatabaseMissingError` and a wrong address.
        full: For `DatabaseFullError`.
        mismatch: For wrong versions, a missing extension and refused data.
    """

    unavailable: type[AlexandriaError]
    access: type[AlexandriaError]
    full: type[AlexandriaError]
    mismatch: type[AlexandriaError]

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise the port's error in place of a `DatabaseError`, with its sentence."""
        try:
            yield
        except DatabaseFullError as error:
            raise self.full(str(error)) from error
        except (AccessDeniedError, DatabaseMissingError, InsecureAddressError, MalformedAddressError) as error:
            raise self.access(str(error)) from error
        except (NotMigratedError, DatabaseVersionError, ExtensionMissingError, DataRefusedError) as error:
            raise self.mismatch(str(error)) from error
        except DatabaseError as error:
            raise self.unavailable(str(error)) from error


@contextlib.contextmanager
def explained(place: str) -> Iterator[None]:
    """Raise what the driver says as one of our errors; faults of a statement pass through.

    Args:
        place: The server and database, in words that hold no password.
    """
    try:
        yield
    except TimeoutError as error:
        raise DatabaseUnreachableError(f"{place} did not answer in time: try again in a moment") from error
    except ssl.SSLCertVerificationError as error:
        raise AccessDeniedError(
            f"{place} shows a certificate that this machine does not trust ({error.verify_message}): "
            "check the host in DATABASE_URL"
        ) from error
    except (OSError, EOFError) as error:
        raise DatabaseUnreachableError(f"{place} cannot be reached, or broke off ({error!r:.200})") from error
    except asyncpg.ClientConfigurationError as error:
        # Its words repeat parts of the address, and may hold the password.
        raise MalformedAddressError(f"the options in DATABASE_URL for {place} cannot be used: check them") from error
    except asyncpg.InterfaceError as error:
        raise DatabaseUnreachableError(f"{place} cannot be spoken to any more ({error})") from error
    except asyncpg.InternalClientError as error:
        raise DatabaseUnreachableError(f"what answers at {place} does not speak as PostgreSQL does") from error
    except asyncpg.PostgresError as error:
        state = error.sqlstate or ""
        kind, sentence = _MEANING.get(state) or _MEANING.get(state[:2]) or (None, "")
        if kind is None:
            raise
        raise kind(f"{place} {sentence} ({error.args[0] if error.args else state})") from error


_MIGRATE = "lacks tables of ours: run `alexandria migrate`"
_NO_ENTRY = "does not let us in: check user and password in DATABASE_URL"

_MEANING: dict[str, tuple[type[DatabaseError], str]] = {
    "08": (DatabaseUnreachableError, "broke off, or cannot be reached"),
    "57": (DatabaseUnreachableError, "is stopping, starting, or broke off"),
    "57014": (StatementTimeoutError, "took too long over a statement: try again when it has less to do"),
    "25P03": (DatabaseUnreachableError, "ended a transaction that waited too long"),
    "25P04": (StatementTimeoutError, "took too long over a transaction: try again when it has less to do"),
    "25006": (AccessDeniedError, "cannot be written: is it a replica?"),
    "53": (DatabaseBusyError, "has no memory or other means left: try again in a moment"),
    "53300": (DatabaseBusyError, "takes no more connections: try again in a moment, or use its pooled address"),
    "53100": (DatabaseFullError, "has no room left: free some, or choose a larger plan, then try again"),
    "53400": (DatabaseFullError, "has reached a limit of its configuration"),
    "40": (DatabaseBusyError, "had another transaction in the way: try again"),
    "55P03": (DatabaseBusyError, "had another transaction in the way: try again"),
    "28": (AccessDeniedError, _NO_ENTRY),
    "42501": (AccessDeniedError, "does not give this user the rights: ask its owner, or use another user"),
    "3D000": (DatabaseMissingError, "is not there: create it, or correct the name in DATABASE_URL"),
    "42P01": (NotMigratedError, _MIGRATE),
    "3F000": (NotMigratedError, _MIGRATE),
    "42703": (DataRefusedError, "has tables that are not as we made them"),
    "42704": (DataRefusedError, "has tables that are not as we made them"),
    "42883": (DataRefusedError, "has tables that are not as we made them"),
    "22": (DataRefusedError, "refuses a value: the tables are not as we made them, or a vector is not finite"),
    "54": (DataRefusedError, "refuses a value that is too long for it"),
    "58": (DatabaseUnreachableError, "has a fault in its system"),
    "XX": (DatabaseUnreachableError, "has a fault of its own"),
}
"""By SQLSTATE, then by its class (PostgreSQL manual, appendix A)."""
