from headgate.plugins._remembered import Remembered


def test_a_text_is_looked_at_once() -> None:
    asked: list[str] = []

    def find(text: str) -> bool:
        asked.append(text)
        return text.startswith("a")

    verdicts = Remembered(find)
    assert [verdicts[text] for text in ("ab", "b", "ab", "b")] == [True, False, True, False]
    assert asked == ["ab", "b"]


def test_no_client_can_fill_the_memory() -> None:
    verdicts = Remembered(len, most=3, longest=2)
    assert [verdicts[text] for text in ("a", "bb", "long", "c", "d", "e")] == [1, 2, 4, 1, 1, 1]
    assert sorted(verdicts) == ["d", "e"]
