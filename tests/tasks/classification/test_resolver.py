"""Test that each way to name a class gives the same index for an option, a CSV file and folders."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cvkit.errors import CvkitError, DataError, UsageError
from cvkit.inputs import Input
from cvkit.tasks.classification.resolver import ClassResolver, find_class
from cvkit.tasks.classification.truth import read_truth

LABELS = ("tench", "crane", "Cardigan", "tiger cat", "crane", "cardigan", "sofa, studio couch, Day_Bed", "7")
IDS = tuple(f"n0000000{k}" for k in range(8))
Resolve = Callable[[str, tuple[str, ...], tuple[str, ...], int], int]


def by_option(name: str, labels: tuple[str, ...], ids: tuple[str, ...], count: int) -> int:
    return find_class(name, labels, ids, num_classes=count, source="--class")


def by_folder(name: str, labels: tuple[str, ...], ids: tuple[str, ...], count: int) -> int:
    index = read_truth("folders", labels, ids, count).class_of(Input(Path(name, "a.jpg"), "a.jpg", "a"))
    assert index is not None
    return index


@pytest.fixture(params=["option", "table", "folder"])
def resolve(request: pytest.FixtureRequest, tmp_path: Path) -> Resolve:
    """Resolve a name as an option, as a cell of the column label and as the name of a folder."""

    def by_table(name: str, labels: tuple[str, ...], ids: tuple[str, ...], count: int) -> int:
        table = tmp_path / "truth.csv"
        table.write_text(f'image,label\na.jpg,"{name}"\n', encoding="utf-8")
        index = read_truth(str(table), labels, ids, count).class_of(Input(Path("a.jpg"), "a.jpg", "a"))
        assert index is not None
        return index

    return {"option": by_option, "table": by_table, "folder": by_folder}[request.param]


@pytest.mark.parametrize(
    ("rule", "name", "index"),
    [
        ("exact label", "tench", 0),
        ("exact label", "cardigan", 5),
        ("exact label", "Cardigan", 2),
        ("exact label", "sofa, studio couch, Day_Bed", 6),
        ("label in any case", "TENCH", 0),
        ("label with underscores", "Tiger_Cat", 3),
        ("label with repeated spaces", "tiger  cat", 3),
        ("label with underscores", "sofa,_studio_couch,_day_bed", 6),
        ("one of the names", "sofa", 6),
        ("one of the names", "studio couch", 6),
        ("one of the names", "Studio_Couch", 6),
        ("one of the names", "day bed", 6),
        ("WordNet id", "n00000003", 3),
        ("WordNet id", "N00000003", 3),
        ("index", "0", 0),
        ("index", "5", 5),
        ("index", "005", 5),
        ("exact label", "7", 7),
    ],
)
def test_a_class_is_found_by_each_rule(resolve: Resolve, rule: str, name: str, index: int) -> None:
    assert resolve(name, LABELS, IDS, 8) == index, rule


def test_an_exact_label_precedes_an_index(resolve: Resolve) -> None:
    # torchvision's ImageFolder sorts folders named 1, 2, 10 in this order.
    labels = ("1", "10", "2")
    assert [resolve(name, labels, (), 3) for name in ("1", "10", "2", "0")] == [0, 1, 2, 0]


def test_a_name_that_occurs_twice_in_one_label_is_not_ambiguous(resolve: Resolve) -> None:
    assert resolve("boa", ("tench", "boa constrictor, boa, Boa"), (), 2) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crane", "'crane' is the name of 2 classes: 1 (n00000001), 4 (n00000004). Use the index or WordNet id of one"),
        ("CRANE", "'CRANE' is the name of 2 classes: 1 (n00000001), 4 (n00000004). Use the index or WordNet id of one"),
        ("CARDIGAN", "2 (n00000002), 5 (n00000005)"),
        ("8", "the class index 8 is out of range (0 to 7)."),
        ("-1", "the class index -1 is out of range (0 to 7)."),
        ("9" * 5000, "is out of range (0 to 7)."),
        ("tensch", "the model has no class 'tensch'. Did you mean 'tench'?"),
        ("studio coach", "the model has no class 'studio coach'. Did you mean 'studio couch'?"),
        ("cat", "the model has no class 'cat'. Did you mean 'tiger cat'?"),
        ("xyzzy", "the model has no class 'xyzzy'. Known: 7, cardigan, crane, "),
        ("n09999999", "the model has no class with the id 'n09999999'. Leave it out, or use a model with this class."),
    ],
)
def test_a_name_that_does_not_identify_one_class_is_refused(resolve: Resolve, name: str, message: str) -> None:
    with pytest.raises(CvkitError) as caught:
        resolve(name, LABELS, IDS, 8)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_the_message_names_the_source_of_the_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--class: the model has no class 'zebra'"):
        by_option("zebra", LABELS, IDS, 8)
    with pytest.raises(DataError, match=r"^the folder 'zebra' is not named after one class: the model has no class"):
        by_folder("zebra", LABELS, IDS, 8)
    table = tmp_path / "t.csv"
    table.write_text("image,label\na.jpg,tench\nb.jpg,zebra\n")
    with pytest.raises(DataError, match=r"t\.csv: line 3: the model has no class 'zebra'") as caught:
        read_truth(str(table), LABELS, IDS, 8)
    assert "--class" not in str(caught.value)


def test_an_ambiguous_name_without_ids_shows_the_labels(resolve: Resolve) -> None:
    with pytest.raises(CvkitError, match=r"2 \(Cardigan\), 5 \(cardigan\)\. Use the index of one of them"):
        resolve("cardiGan", LABELS, (), 8)


def test_at_most_five_candidates_are_shown() -> None:
    with pytest.raises(DataError, match=r"7 classes: 0 \(a, 0\), .*4 \(a, 4\) and 2 more\."):
        ClassResolver([f"a, {k}" for k in range(7)], (), 7).find("a")


def test_a_blank_name_matches_no_class() -> None:
    for name in ("", " ", "_"):
        with pytest.raises(DataError, match="the model has no class"):
            ClassResolver(("tench", "crane,", " , sofa"), (), 3).find(name)


def test_a_thousand_labels_are_not_listed() -> None:
    with pytest.raises(DataError, match=r"the model has no class 'xyz'\.$"):
        ClassResolver([f"label {index}" for index in range(1000)], (), 1000).find("xyz")


def test_without_labels_the_index_and_the_id_identify_a_class() -> None:
    assert find_class("12", (), (), num_classes=13, source="--class") == 12
    assert ClassResolver((), IDS, 8).find("n00000003") == 3
    with pytest.raises(UsageError, match=r"out of range \(0 to 11\)"):
        find_class("12", (), (), num_classes=12, source="--class")
    unknown = r"labels of the model are unknown: use the index of the class \(0 to 11\) or --labels FILE"
    with pytest.raises(UsageError, match=unknown):
        find_class("cat", (), (), num_classes=12, source="--class")
    with pytest.raises(DataError, match=r"use the index of the class \(0 to 7\), the WordNet id or --labels FILE"):
        ClassResolver((), IDS, 8).find("cat")


def test_an_id_cannot_be_found_in_a_model_without_ids() -> None:
    with pytest.raises(DataError, match="'n00000003' cannot be looked up, because the model has no WordNet ids"):
        ClassResolver(LABELS, (), 8).find("n00000003")


def test_an_id_and_an_index_are_not_accepted_for_each_other() -> None:
    resolver = ClassResolver(LABELS, IDS, 8)
    with pytest.raises(DataError, match="'n00000003' is not a class index"):
        resolver.find_index("n00000003")
    with pytest.raises(DataError, match="no class with the id '3'"):
        resolver.find_id("3")


def test_as_many_labels_as_classes_are_needed() -> None:
    with pytest.raises(DataError, match="There are 8 labels for 10 classes"):
        ClassResolver(LABELS, (), 10)
    with pytest.raises(DataError, match="There are 8 class ids for 10 classes"):
        ClassResolver((), IDS, 10)
