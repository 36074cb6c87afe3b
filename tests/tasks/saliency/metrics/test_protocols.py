import pytest
import torch

from cvkit.errors import UsageError
from cvkit.tasks.saliency.metrics.fixation import nss
from cvkit.tasks.saliency.metrics.protocols import PROTOCOLS, ScoreInputs

MIT = ("auc_judd", "auc_borji", "auc_shuffled", "nss", "cc", "sim", "kl", "ig", "emd")
TUEBINGEN = ("auc", "sauc", "nss", "cc", "sim", "kl", "ig")


def inputs() -> ScoreInputs:
    g = torch.Generator().manual_seed(0)
    return ScoreInputs(
        pred=torch.rand(2, 40, 50, generator=g),
        target=torch.rand(2, 40, 50, generator=g),
        fixations=torch.randint(0, 20, (2, 40, 50), generator=g).sub(16).clamp_min(0),
        others=torch.randint(0, 20, (2, 40, 50), generator=g).sub(16).clamp_min(0),
        baseline=torch.rand(40, 50, generator=g),
    )


@pytest.mark.parametrize(("name", "columns"), [("mit", MIT), ("tuebingen", TUEBINGEN)])
def test_columns_are_named_and_ordered_as_in_the_reference_files(name: str, columns: tuple[str, ...]) -> None:
    assert PROTOCOLS[name].name == name
    assert PROTOCOLS[name].columns == columns
    scores = PROTOCOLS[name].score(inputs())
    assert tuple(scores) == columns
    assert all(column.shape == (2,) and column.dtype == torch.float64 for column in scores.values())
    assert all(column.isfinite().all() for column in scores.values())


def test_the_protocols_differ_where_they_should() -> None:
    score_inputs = inputs()
    assert score_inputs.fixations is not None
    mit, tuebingen = (PROTOCOLS[name].score(score_inputs) for name in ("mit", "tuebingen"))
    assert torch.equal(mit["nss"], nss(score_inputs.pred, score_inputs.fixations, repeats=False, correction=1))
    assert torch.equal(tuebingen["nss"], nss(score_inputs.pred, score_inputs.fixations, repeats=True, correction=0))
    assert torch.equal(mit["kl"], tuebingen["kl"])
    assert not torch.equal(mit["sim"], tuebingen["sim"])
    assert not torch.equal(mit["ig"], tuebingen["ig"])


def test_missing_inputs_make_their_columns_undefined() -> None:
    score_inputs = inputs()
    only_points = PROTOCOLS["mit"].score(ScoreInputs(pred=score_inputs.pred, fixations=score_inputs.fixations))
    undefined = {name for name, column in only_points.items() if column.isnan().all()}
    assert undefined == {"auc_shuffled", "cc", "sim", "kl", "ig", "emd"}
    only_maps = PROTOCOLS["mit"].score(ScoreInputs(pred=score_inputs.pred, target=score_inputs.target))
    assert {name for name, column in only_maps.items() if column.isfinite().all()} == {"cc", "sim", "kl", "emd"}


def test_a_subset_of_the_columns_is_computed() -> None:
    assert list(PROTOCOLS["mit"].score(inputs(), ["kl", "cc"])) == ["kl", "cc"]
    with pytest.raises(UsageError, match=r"no column 'auc_jud'\. Did you mean 'auc_judd'\?"):
        PROTOCOLS["mit"].score(inputs(), ["auc_jud"])
