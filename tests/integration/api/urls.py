"""Addresses that must be refused, and such that must not: two grammars."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

HOSTS = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org")
_NAME_START = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_NAME = _NAME_START + "-."

SCHEMES = [
    "http",
    "ftp",
    "file",
    "git",
    "ssh",
    "git+ssh",
    "git+https",
    "ext",
    "javascript",
    "data",
    "gopher",
    "ldap",
    "dict",
    "tftp",
    "smb",
    "jar",
    "svn",
    "rsync",
    "about",
    "blob",
    "ws",
    "HTTP",
    "hTTp",
    "fd",
    "local",
    "view-source",
]
LOOPBACK_NAMES = [
    "localhost",
    "localhost.",
    "LOCALHOST",
    "foo.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "broadcasthost",
    "metadata.google.internal",
    "instance-data.ec2.internal",
    "router.lan",
    "nas.local",
    "host.docker.internal",
    "db.corp",
    "wpad.home",
    "kubernetes.default.svc",
    "printer",
    "intranet",
]
HOMOGRAPHS = ("gіthub.com", "ɡithub.com", "github。com", "github．com", "ｇithub.com", "git\u200bhub.com", "githսb.com")
CONTROL = [chr(code) for code in (*range(0x20), 0x7F, 0x85, 0xA0, 0x2028, 0x2029)]
BIDI = list("\u202a\u202b\u202d\u202e\u2066\u2067\u2069\u200e\u200f\ufeff\u00ad")
OPTIONS = (
    "--upload-pack=touch /tmp/x",
    "-oProxyCommand=x",
    "--config=core.sshCommand=x",
    "--",
    "-",
    "--output=/etc/passwd",
    "-c",
    "ext::sh -c touch% /tmp/x",
    "ext::sh",
    "fd::17",
    "transport::address",
)
SHELL = (
    "$(id)",
    "`id`",
    ";id",
    "|id",
    "&&id",
    ">x",
    "<x",
    "'",
    '"',
    "\\",
    "${IFS}",
    "*",
    "?",
    "[",
    "{a,b}",
    "!",
    "#",
    "%",
    "^",
    " ",
)
DOTS = ("..", ".", "...", "%2e%2e", "%252e%252e", "..%2f", "..\\", "%c0%ae%c0%ae", ".%00.")


def _ip(draw: random.Random) -> str:
    a, b, c, d = draw.choice(
        [(127, 0, 0, 1), (10, 0, 0, 1), (169, 254, 169, 254), (192, 168, 1, 1), (8, 8, 8, 8), (0, 0, 0, 0)]
    )
    number = (a << 24) | (b << 16) | (c << 8) | d
    return draw.choice(
        [
            f"{a}.{b}.{c}.{d}",
            f"{a}.{b}.{c}.{d}.",
            str(number),
            hex(number),
            f"0{number:o}",
            f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
            f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
            f"{a}.{(b << 16) | (c << 8) | d}",
            f"{a}.{b}.{(c << 8) | d}",
            f"[::ffff:{a}.{b}.{c}.{d}]",
            f"[::ffff:{a << 8 | b:x}:{c << 8 | d:x}]",
            f"[64:ff9b::{a << 8 | b:x}:{c << 8 | d:x}]",
            "[::1]",
            "[::]",
            "[fe80::1%25eth0]",
            "[fd00::1]",
            "①②⑦.⓪.⓪.①",
        ]
    )


def _scheme(draw: random.Random) -> str:
    return f"{draw.choice(SCHEMES)}://{draw.choice(HOSTS)}/u/r"


def _userinfo(draw: random.Random) -> str:
    who = draw.choice(["u", "u:p", ":p", "", "x-access-token:ghp_0", "github.com", "a%40b", "u:p@q"])
    return f"{draw.choice(['https://', ''])}{who}@{draw.choice([*HOSTS, '127.0.0.1', 'evil.example'])}/u/r"


def _address(draw: random.Random) -> str:
    return f"{draw.choice(['https://', '', 'git@'])}{_ip(draw)}{draw.choice([':', '/'])}u/r"


def _internal(draw: random.Random) -> str:
    return f"{draw.choice(['https://', ''])}{draw.choice(LOOPBACK_NAMES)}/u/r"


def _port(draw: random.Random) -> str:
    return f"https://{draw.choice(HOSTS)}:{draw.choice(['22', '443', '6379', '', '-1', '0x50', '99999999'])}/u/r"


def _other_host(draw: random.Random) -> str:
    shapes = (
        "{0}.evil.example/u/r evil.example/{0}/u {0}\\@evil.example/u/r evil.example#{0}/u/r {0}%2eevil.example/u/r "
        "{0}./u/r -{0}/u/r a..{0}/u/r aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.{0}/u/r"
    )
    return "https://" + draw.choice(shapes.split(" ")).format(draw.choice(HOSTS))


def _dots(draw: random.Random) -> str:
    parts = ["u", "r"]
    parts.insert(draw.randrange(3), draw.choice(DOTS))
    return f"https://{draw.choice(HOSTS)}/{'/'.join(parts)}"


def _character(draw: random.Random) -> str:
    url = f"https://{draw.choice(HOSTS)}/owner/name"
    # At either end a space is dropped, and only there: it stands inside.
    at = draw.randrange(1, len(url))
    return url[:at] + draw.choice([*CONTROL, *BIDI, "\U0001f600", "é", "\ufffd"]) + url[at:]


def _homograph(draw: random.Random) -> str:
    return f"{draw.choice(['https://', ''])}{draw.choice(HOMOGRAPHS)}/u/r"


def _option(draw: random.Random) -> str:
    option = draw.choice(OPTIONS)
    return draw.choice([option, f"{option}/u/r", f"https://github.com/{option}/r", f"git@{option}:u/r"])


def _shell(draw: random.Random) -> str:
    where = draw.choice(
        ["https://github.com/u/r{}x", "https://github.com/{}u/r", "https://github.com/u/a{}b", "{}x/u/r"]
    )
    return where.format(draw.choice(SHELL))


def _encoded(draw: random.Random) -> str:
    return "https://github.com/u/" + "".join(
        f"%{ord(c):02{draw.choice('xX')}}" for c in draw.choice(["r", "..", "r/x", "\n"])
    )


_SHAPES = (
    "/ // https:// https:///u/r https://github.com https://github.com/ github.com/u https://github.com//r "
    "https://github.com/u//r https://github.com/u/r/tree/main github.com/u/.git https://github.com/u/r?x=1 "
    "https://github.com/u/r#x git@github.com git@github.com/u/r \\\\h\\u\\r https://https://github.com/u/r "
    "//github.com/u/r /etc/passwd ~/x C:\\x file:///etc/passwd . https:\\\\github.com\\u\\r null undefined "
    "https://github.com/u/r.git.git https://github.com/u/-r"
)


def _shape(draw: random.Random) -> str:
    return draw.choice(["", " ", *_SHAPES.split(" ")])


def _long(draw: random.Random) -> str:
    length = draw.choice([2_100, 5_000, 40_000, 100_000])
    return "https://github.com/u/" + draw.choice("ar/.%") * length


_HOSTILE: tuple[Callable[[random.Random], str], ...] = (
    _scheme,
    _userinfo,
    _address,
    _internal,
    _port,
    _other_host,
    _dots,
    _character,
    _homograph,
    _option,
    _shell,
    _encoded,
    _shape,
    _long,
)


def hostile_urls(count: int, seed: int) -> Iterator[str]:
    """Yield addresses none of which may be accepted, every kind in turn."""
    draw = random.Random(seed)
    for number in range(count):
        yield _HOSTILE[number % len(_HOSTILE)](draw)


def valid_urls(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield addresses that must be accepted, each with its canonical form."""
    draw = random.Random(seed)
    for _ in range(count):
        host, owner, name = draw.choice(HOSTS), _name(draw), _name(draw)
        spelled = "".join(draw.choice([c.lower(), c.upper()]) for c in host)
        ending = draw.choice(["", ".git", "/", ".git/"])
        prefix = draw.choice(["", "https://", "hTTps://", "git@"])
        written = f"{prefix}{spelled}{':' if prefix == 'git@' else '/'}{owner}/{name}"
        yield written + ending, f"https://{host}/{owner}/{name}"


def _name(draw: random.Random) -> str:
    length = draw.randrange(1, 30)
    name = draw.choice(_NAME_START) + "".join(draw.choice(_NAME) for _ in range(length - 1))
    return name.removesuffix(".git") or "x"
