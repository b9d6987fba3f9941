"""What is accepted as the address of a repository, as a local one and as a ref, and what never is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from alexandria.domain.errors import InvalidRepoUrlError
from alexandria.domain.repo_url import ANY_HOST, DEFAULT_HOSTS, MAX_LENGTH, LocalRepo, RepoUrl, checked_ref

ANY = frozenset({ANY_HOST})

# A grammar of addresses that must be accepted.

ALNUM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SEGMENTS = (
    st.text(ALNUM + "._-", min_size=1, max_size=40)
    .filter(lambda s: s[0] != "-" and s.strip("."))
    .filter(lambda s: not s.endswith(".git"))
)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
TOP_LABELS = st.sampled_from(["com", "org", "io", "dev", "xn--p1ai", "museum"])
PUBLIC_HOSTS = st.builds(
    lambda labels, top: ".".join([*labels, top]), st.lists(LABELS, min_size=1, max_size=4), TOP_LABELS
)
OWNER_AND_NAME = st.tuples(SEGMENTS, SEGMENTS).map("/".join)
GROUPS = st.lists(SEGMENTS, min_size=2, max_size=8).map("/".join)
PLACES = st.one_of(
    st.tuples(st.sampled_from(sorted(DEFAULT_HOSTS)), OWNER_AND_NAME),
    st.tuples(st.just("gitlab.com"), GROUPS),
)


@st.composite
def spellings(draw: st.DrawFn, host: str, path: str) -> str:
    """Return one of the ways to write `https://host/path`."""
    host = "".join(draw(st.sampled_from([c, c.upper()])) for c in host)
    suffix = draw(st.sampled_from(["", ".git", "/", ".git/"]))
    prefix = draw(st.sampled_from(["", "https://", "HTTPS://", "Https://", "git@"]))
    separator = ":" if prefix == "git@" else "/"
    spaces = draw(st.sampled_from(["", " ", "  "]))
    return f"{spaces}{prefix}{host}{separator}{path}{suffix}{spaces}"


@settings(max_examples=300)
@given(data=st.data(), place=PLACES)
def test_every_spelling_of_a_repository_gives_the_same_value(data: st.DataObject, place: tuple[str, str]) -> None:
    host, path = place
    first, second = data.draw(spellings(host, path)), data.draw(spellings(host, path))
    assert RepoUrl.parse(first) == RepoUrl.parse(second)
    assert RepoUrl.parse(first).key == f"{host}/{path}"


@settings(max_examples=200)
@given(data=st.data(), host=PUBLIC_HOSTS, path=OWNER_AND_NAME)
def test_every_public_host_is_accepted_where_any_is_allowed(data: st.DataObject, host: str, path: str) -> None:
    repo = RepoUrl.parse(data.draw(spellings(host, path)), allowed_hosts=ANY)
    assert (repo.host, repo.url) == (host, f"https://{host}/{path}")


@settings(max_examples=200)
@given(data=st.data(), host=PUBLIC_HOSTS, path=OWNER_AND_NAME)
def test_host_that_is_not_in_the_list_is_refused(data: st.DataObject, host: str, path: str) -> None:
    assume(host not in DEFAULT_HOSTS)
    with pytest.raises(InvalidRepoUrlError, match="allowed"):
        RepoUrl.parse(data.draw(spellings(host, path)))


@settings(max_examples=300)
@given(data=st.data(), place=PLACES)
def test_canonical_form_is_a_fixed_point(data: st.DataObject, place: tuple[str, str]) -> None:
    repo = RepoUrl.parse(data.draw(spellings(*place)))
    for form in (repo.url, repo.key, str(repo), f"git@{repo.host}:{repo.key.partition('/')[2]}.git"):
        assert RepoUrl.parse(form) == repo
    assert RepoUrl(repo.key) == repo
    assert repo.url == f"https://{repo.key}"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("github.com/pallets/flask", "github.com/pallets/flask"),
        ("https://github.com/pallets/flask", "github.com/pallets/flask"),
        ("https://GitHub.com/pallets/flask.git", "github.com/pallets/flask"),
        ("https://github.com/pallets/flask/", "github.com/pallets/flask"),
        ("git@github.com:pallets/flask.git", "github.com/pallets/flask"),
        ("https://github.com/Pallets/Flask", "github.com/Pallets/Flask"),
        ("https://gitlab.com/a/b/c/d.git", "gitlab.com/a/b/c/d"),
        ("github.com/github/.github", "github.com/github/.github"),
        ("github.com/u/a..b", "github.com/u/a..b"),
        ("codeberg.org/u/r.github.io", "codeberg.org/u/r.github.io"),
    ],
)
def test_address_has_this_key(text: str, key: str) -> None:
    repo = RepoUrl.parse(text)
    assert repo.key == key
    assert repo.name == key.rpartition("/")[2]


# A grammar of addresses that must be refused, even where every public host is allowed.

LOOPBACK_AND_PRIVATE = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "0", "0.0.0.1"),
    *("10.0.0.8", "192.168.1.1", "169.254.169.254", "100.64.0.1", "1.2.3.4", "8.8.8.8", "127.0.0.1.", "1.1.1.0x1"),
    *("[::1]", "::1", "[::ffff:127.0.0.1]", "::ffff:7f00:1", "[fe80::1%25eth0]", "[fd00::1]", "[0:0:0:0:0:0:0:1]"),
    *(
        "localhost",
        "localhost.",
        "LOCALHOST",
        "db.localhost",
        "localhost.localdomain",
        "ip6-localhost",
        "broadcasthost",
    ),
    *("printer.local", "nas.lan", "git.corp", "git.internal", "metadata.google.internal", "router.home", "x.home.arpa"),
    *("1.0.0.127.in-addr.arpa", "x.intranet", "x.private", "x.test", "x.example", "x.invalid", "abc.onion", "git"),
]
WRONG_HOSTS = [
    *("", ".", "..", "-evil.com", "evil-.com", "a..b.com", ".github.com", "github.com.", "git_hub.com", "github.c"),
    *("githüb.com", "gіthub.com", "github。com", "ｇithub.com", "github.com\u202e", "git\u200bhub.com", "github.соm"),
    *("github%2ecom", "github.com%00", "github.com\\", "github.com#", "github.com?", "github.com;", "$(id).com"),
    *("a" * 64 + ".com", ".".join(["a" * 60] * 5) + ".com", "github.com:443", "github.com:", "github.com:22", "c:"),
    *("user@github.com", "user:secret@github.com", ":@github.com", "@github.com", "github.com@evil.com"),
]
WRONG_PATHS = [
    *("", "/", "u", "u/", "/u/r", "u//r", "u/r//", "../r", "u/..", "./r", "u/.", "u/...", "u/.git", "u/..git/../r"),
    *("%2e%2e/r", "u/%2e%2e", "u/r%2f..", "u/r%00", "u/r?x=1", "u/r#main", "u/r;id", "u/r&&id", "u/`id`", "u/$(id)"),
    *("-u/r", "u/-r", "u/--upload-pack=id", "u/r id", "u/r\tid", "u/r\nid", "u/r\r", "u/r\0", "u/r\x7f", "u/r\x1b[2J"),
    *(
        "u/r\u202egnp",
        "u/r\u2066",
        "u/\u200br",
        "u/ré",
        "u/r\\..",
        "u\\r",
        "u/r|id",
        "u/r<x",
        "u/r'x",
        'u/r"x',
        "u/{r}",
    ),
    *("u/r.git.git", "~/r", "u/r~1", "u/r^", "u/" + "r" * 256, "u/\ud800", "u/r*", "u/[r]", "u/r@x", "u/r:x", "u/r,x"),
]
OTHER_SCHEMES = [
    *(
        "http",
        "git",
        "ssh",
        "git+ssh",
        "file",
        "ftp",
        "ext",
        "data",
        "javascript",
        "gopher",
        "httpsx",
        "htt ps",
    ),
    *("https:", "-https", "", "ext::https", "http+git", "HTTP", "dict", "jar:https", "view-source:https", "ｈttps"),
]
HOSTILE_SHAPES = [
    *("", " ", "/", "//", "://", "https://", "git@", "git@:", "git@github.com", "git@github.com/u/r", "github.com"),
    *(
        "ext::sh -c id% >&2",
        "ext::https://github.com/u/r",
        "--upload-pack=id",
        "-oProxyCommand=id",
        "file:///etc/passwd",
    ),
    *(
        "/etc/passwd",
        "./repo",
        "../repo",
        "~/repo",
        "C:\\repo",
        "\\\\host\\share",
        "//github.com/u/r",
        "https:/github.com/u/r",
    ),
    *("https:github.com/u/r", "https:///github.com/u/r", "https://https://github.com/u/r", "git@@github.com:u/r"),
    *("root@github.com:u/r", "git@github.com:22:u/r", "git@[::1]:u/r", "git@localhost:u/r", "git@127.0.0.1:u/r"),
    *("git@-oProxyCommand=id:u/r", "ssh://git@github.com/u/r", "git@github.com:/u/r", "git@github.com:../u/r"),
    *("https://github.com\\@evil.com/u/r", "https://github.com%2f@evil.com/u/r", "https://evil.com#@github.com/u/r"),
    *(
        "javascript:alert(1)//github.com/u/r",
        "\ufeffhttps://github.com/u/r",
        "https://github.com/u/r\n",
        "\thttps://github.com/u/r",
    ),
    *("https://github.com/u/r/tree/main", "https://bitbucket.org/u/r/src", "https://codeberg.org/u/r/issues/1"),
]


def assert_refused(text: str) -> None:
    for allowed in (DEFAULT_HOSTS, ANY):
        with pytest.raises(InvalidRepoUrlError) as refusal:
            RepoUrl.parse(text, allowed_hosts=allowed)
        # The text may carry a password, and its bidi characters would turn the log around.
        assert str(refusal.value).isascii()
        assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("text", HOSTILE_SHAPES)
def test_hostile_shape_is_refused(text: str) -> None:
    assert_refused(text)


# Behind `git@host:` stands a path and never a port: git reads it so, too.
NO_HOSTS = [*LOOPBACK_AND_PRIVATE, *WRONG_HOSTS]
IN_A_SHAPE = [shape.format(host) for host in NO_HOSTS for shape in ("https://{}/u/r", "{}/u/r", "https://{}/u/r.git/")]
IN_SCP_SHAPE = [f"git@{host}:u/r.git" for host in NO_HOSTS if not host.startswith("github.com:")]


@pytest.mark.parametrize("text", [*IN_A_SHAPE, *IN_SCP_SHAPE])
def test_host_that_is_no_public_name_is_refused(text: str) -> None:
    assert_refused(text)


@pytest.mark.parametrize("path", WRONG_PATHS)
@pytest.mark.parametrize("shape", ["https://github.com/{}", "github.com/{}", "git@github.com:{}", "gitlab.com/{}"])
def test_path_that_is_no_owner_and_name_is_refused(path: str, shape: str) -> None:
    assert_refused(shape.format(path))


@pytest.mark.parametrize("scheme", OTHER_SCHEMES)
def test_other_scheme_is_refused(scheme: str) -> None:
    assert_refused(f"{scheme}://github.com/u/r")


NUMBERS = st.integers(0, 255)


@st.composite
def ipv4_spellings(draw: st.DrawFn) -> str:
    """Return an IPv4 address as `inet_aton` reads it: 1 to 4 parts, each decimal, octal or hexadecimal."""
    octets = draw(st.lists(NUMBERS, min_size=4, max_size=4))
    kept = draw(st.integers(1, 4))
    last = int.from_bytes(bytes(octets[kept - 1 :]))
    return ".".join(
        draw(st.sampled_from([f"{n}", f"0{n:o}", f"0x{n:x}", f"0X{n:X}"])) for n in [*octets[: kept - 1], last]
    )


@settings(max_examples=300)
@given(host=st.one_of(ipv4_spellings(), st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"), st.ip_addresses(v=6).map(str)))
def test_ip_literal_in_any_spelling_is_refused(host: str) -> None:
    assert_refused(f"https://{host}/u/r")
    assert_refused(f"{host}/u/r")
    assert_refused(f"git@{host}:u/r")


@settings(max_examples=300)
@given(place=PLACES, at=st.integers(0), foreign=st.characters(exclude_characters=ALNUM + "._-/~: @", codec=None))
def test_foreign_character_anywhere_inside_is_refused(place: tuple[str, str], at: int, foreign: str) -> None:
    url = f"https://{place[0]}/{place[1]}"
    at %= len(url) + 1
    assert_refused(url[:at] + foreign + url[at:])


@settings(max_examples=200)
@given(place=PLACES, user=st.text(ALNUM, max_size=8), password=st.none() | st.text(ALNUM + "%", max_size=8))
def test_credentials_are_refused(place: tuple[str, str], user: str, password: str | None) -> None:
    credentials = user if password is None else f"{user}:{password}"
    assert_refused(f"https://{credentials}@{place[0]}/{place[1]}")


@settings(max_examples=500)
@given(text=st.text())
@example("https://github.com/u/r")
def test_whatever_is_accepted_is_a_plain_https_address(text: str) -> None:
    try:
        repo = RepoUrl.parse(text, allowed_hosts=ANY)
    except InvalidRepoUrlError:
        return
    assert repo.url.isascii()
    assert repo.url.startswith("https://")
    assert ".." not in repo.key.split("/")
    assert RepoUrl.parse(repo.url, allowed_hosts=ANY) == repo


@settings(max_examples=500)
@given(
    text=st.lists(
        st.sampled_from(["https://", "git@", "github.com", "/", ":", "u", "..", ".git", "@", "-", "%2e", ".", "a"])
    ).map("".join)
)
def test_whatever_is_accepted_of_suspicious_pieces_is_a_fixed_point(text: str) -> None:
    try:
        repo = RepoUrl.parse(text, allowed_hosts=ANY)
    except InvalidRepoUrlError:
        return
    host, *segments = repo.key.split("/")
    assert RepoUrl.parse(repo.url, allowed_hosts=ANY) == RepoUrl.parse(repo.key, allowed_hosts=ANY) == repo
    assert len(segments) >= 2
    assert all(s.strip(".") and not s.startswith("-") for s in segments)
    assert not repo.key.endswith((".git", "/"))
    assert not {"@", ":", "%"} & set(repo.key)
    assert "." in host


@pytest.mark.parametrize(
    "unit", ["a", "a/", "a.", "-", ".", "@", ":", "[", "%2e", "https://", "git@", " ", "ü", "../", "a-"]
)
@pytest.mark.parametrize("prefix", ["", "https://github.com/", "git@github.com:", "https://"])
def test_hundred_thousand_characters_are_refused_at_once(prefix: str, unit: str) -> None:
    text = prefix + unit * (100_000 // len(unit))
    with pytest.raises(InvalidRepoUrlError, match="2048"):  # its length is judged before any pattern sees it
        RepoUrl.parse(text)


def test_longest_address_is_accepted_in_every_spelling_or_in_none() -> None:
    path = "/".join(["a" * 250] * 8)
    for length in range(MAX_LENGTH - 12, MAX_LENGTH + 4):
        key = ("gitlab.com/" + path + "/" + "b" * 200)[: length - len("https://")]
        for text in (f"https://{key}", key, f"git@{key.replace('/', ':', 1)}"):
            if len(f"https://{key}") <= MAX_LENGTH:
                assert RepoUrl.parse(text).key == key
            else:
                with pytest.raises(InvalidRepoUrlError, match="2048"):
                    RepoUrl.parse(text)


@pytest.mark.parametrize(
    "key", ["GitHub.com/u/r", "github.com/u/r.git", "github.com/u/r/", "https://github.com/u/r", "", "x"]
)
def test_key_that_is_not_canonical_makes_no_value(key: str) -> None:
    with pytest.raises(InvalidRepoUrlError):
        RepoUrl(key)


# Local repositories


def test_local_repository_is_named_by_its_path() -> None:
    local = LocalRepo(Path("/home/me/über code"))
    assert (local.key, local.name, str(local)) == ("/home/me/über code", "über code", "/home/me/über code")
    assert local.url == "file:///home/me/%C3%BCber%20code"
    assert LocalRepo(Path("/")).name == "/"


@pytest.mark.parametrize("path", ["", ".", "code", "../code", "/home/../etc", "/a\0b", "/home/\udcff"])
def test_path_that_is_relative_unresolved_or_no_text_is_refused(path: str) -> None:
    with pytest.raises(InvalidRepoUrlError):
        LocalRepo(Path(path))


@given(st.lists(st.text(min_size=1).filter(lambda s: "/" not in s and s not in {".", ".."}), min_size=1, max_size=4))
def test_key_of_a_local_repository_can_be_stored_and_makes_it_again(parts: list[str]) -> None:
    try:
        local = LocalRepo(Path("/", *parts))
    except InvalidRepoUrlError:
        assert any(c == "\0" or "\ud800" <= c <= "\udfff" for part in parts for c in part)
        return
    assert LocalRepo(Path(local.key.encode().decode())) == local


# Refs

REF_CHARACTERS = st.characters(min_codepoint=32, max_codepoint=127) | st.sampled_from("aa//..--@@##++__")


@settings(max_examples=150)
@given(ref=st.text(REF_CHARACTERS, min_size=1, max_size=12))
@example("v1.0.0-rc.1+build")
@example("feature/a#1")
@example("a.lock/b")
@example("a@{b")
def test_ref_that_is_accepted_is_accepted_by_git_and_is_no_option(ref: str) -> None:
    try:
        assert checked_ref(ref) == ref
    except InvalidRepoUrlError:
        return
    assert (
        subprocess.run(["git", "check-ref-format", "--branch", ref], capture_output=True, check=False).returncode == 0
    )
    assert not ref.startswith("-")


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "main",
        "v1.0.0",
        "feature/x-1",
        "dependabot/npm_and_yarn/@types/node-20",
        "c0ffee",
        "1.x",
        "a+b",
        "release#2",
    ],
)
def test_usual_ref_is_accepted(ref: str) -> None:
    assert checked_ref(ref) == ref


@pytest.mark.parametrize(
    "ref",
    [
        *(
            "-b",
            "--upload-pack=id",
            "a..b",
            "a b",
            "a\nb",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "[a]",
            "a\\b",
            "@",
            "a@{1}",
            "/a",
        ),
        *(
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a.lock/b",
            "+a",
            ":a",
            "a\0",
            "ü",
            "a" * 256,
            "$(id)",
            "`id`",
            "a;b",
        ),
    ],
)
def test_ref_that_git_or_a_shell_would_read_otherwise_is_refused(ref: str) -> None:
    with pytest.raises(InvalidRepoUrlError):
        checked_ref(ref)
