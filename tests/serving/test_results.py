"""The last results: how many, how large, how long."""

import pytest

pytest.importorskip("starlette")
from ptxtf.serving.results import Examined, Store, file_name


def result(size=10, **changes) -> Examined:
    given = {"image_id": "a", "sentence": "s", "columns": ("c",), "rows": (), "layer_png": b"", "downloads": {}}
    return Examined(**given | {"image_png": bytes(size)} | changes)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_the_oldest_go_when_there_are_too_many(clock):
    store = Store(count=2, max_bytes=100, seconds=60, clock=clock)
    made = [result() for _ in range(3)]
    tokens = [store.put(one) for one in made]
    assert [store.get(token) for token in tokens] == [None, *made[1:]]


def test_the_oldest_go_when_they_are_too_large(clock):
    store = Store(count=9, max_bytes=100, seconds=60, clock=clock)
    sizes = (40, 40, 20, 30)  # with the last one 130; without the first 90
    tokens = [store.put(result(size)) for size in sizes]
    assert [store.get(token) is None for token in tokens] == [True, False, False, False]
    large = store.put(result(500))
    assert store.get(large).size == 500  # its visitor waits for it
    assert [store.get(token) for token in tokens] == [None] * 4


def test_all_go_when_they_are_old(clock):
    store = Store(count=9, max_bytes=100, seconds=60, clock=clock)
    first = store.put(result())
    clock.now += 59.9
    second = store.put(result())
    assert store.get(first) is not None
    clock.now += 0.1
    assert store.get(first) is None
    assert store.get(second) is not None


def test_downloads_count():
    assert result(7, layer_png=bytes(5), downloads={"a": bytes(3), "b": bytes(1)}).size == 16


def test_tokens_are_long_and_no_two_alike(clock):
    store = Store(count=1, max_bytes=1, seconds=1, clock=clock)
    tokens = {store.put(result()) for _ in range(200)}
    assert len(tokens) == 200
    assert min(map(len, tokens)) >= 32  # of 64 letters each: 192 bits


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "a b", "", "a\nb", 'a"b', "x" * 101, "a\0"])
def test_a_download_has_a_plain_name(name):
    with pytest.raises(ValueError, match="expected a plain file name"):
        result(downloads={name: b""})


def test_a_row_has_a_text_for_each_column():
    with pytest.raises(ValueError, match="expected a text for each of"):
        result(rows=(("a", "b"),))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1.2.3.dcm", "1.2.3.dcm"),
        ("-rf", "rf"),
        ("\udcff", "radiograph"),
        ("日本.png", "日本.png"),
        ("a" * 200, "a" * 100),
    ],
)
def test_a_file_name_is_plain(text, name):
    assert file_name(text) == name
    assert file_name(name) == name
