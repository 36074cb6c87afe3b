"""Read, explain and save one image after the other."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cvkit.catalog import Pretrained
from cvkit.commands.gradcam.pictures import save_pictures
from cvkit.config import GradcamConfig
from cvkit.data.fit import Window, fit_crop, fit_squash
from cvkit.data.images import read_image
from cvkit.engine.streaming.stream import WriteResult
from cvkit.errors import NonFiniteError, UsageError
from cvkit.inputs import Input
from cvkit.models.scaling import min_max
from cvkit.tasks.attribution import Explainer
from cvkit.tasks.attribution.faithfulness import Faithfulness, faithfulness
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.ranking import ranks_of, top_classes
from cvkit.tasks.classification.resolver import find_class

MAX_KEPT_BYTES = 12_000_000  # of an image that is kept between reading and writing: 4 megapixels
TOP = "top"  # key in the ledger of the three most likely classes and the explained ones


@dataclass(frozen=True)
class LoadedImage:
    """An image as the network sees it.

    Attributes:
        pixels: (3, h, w) uint8 input of the network.
        window: Position of the input in the image.
        original: (H, W, 3) uint8 image; None if it is read again for the pictures.
    """

    pixels: Tensor
    window: Window
    original: np.ndarray | None


@dataclass(frozen=True)
class ClassExplanation:
    """The explanation of one class of one image.

    Attributes:
        rank: Rank of the class among the predictions, from 1.
        class_index: Index of the class.
        probability: Its probability.
        values: (h, w) float32 map from 0 to 1 at the resolution of the method.
        scores: Faithfulness of the map; None without ``--faithfulness``.
    """

    rank: int
    class_index: int
    probability: float
    values: np.ndarray
    scores: Faithfulness | None


@dataclass(frozen=True)
class ImageExplanation:
    """The classes to print, as (rank, label or index, probability), and the explained ones."""

    top: list[tuple[int, str, float]]
    classes: list[ClassExplanation]


def choose_classes(config: GradcamConfig, facts: Pretrained) -> Callable[[Tensor], Tensor]:
    """Return a function that selects the classes to explain.

    Args:
        config: Settings with ``classes`` or ``rank``.
        facts: Labels and ids of the classes.

    Returns:
        A function from (N, num_classes) logits to (N, K) int64 class indices.

    Raises:
        UsageError: If a class is unknown, or a rank exceeds the number of classes.
    """
    if config.classes:
        indices = [
            find_class(word, facts.labels, facts.class_ids, num_classes=facts.num_classes, source="--class")
            for word in config.classes
        ]
        fixed = torch.tensor(list(dict.fromkeys(indices)))
        return lambda logits: fixed.to(logits.device).expand(len(logits), -1)
    if config.rank[-1] > facts.num_classes:
        raise UsageError(f"--rank {config.rank[-1]}: {facts.model} has {facts.num_classes} classes.")
    positions = torch.tensor(config.rank) - 1
    return lambda logits: top_classes(logits, config.rank[-1])[:, positions.to(logits.device)]


@dataclass(frozen=True)
class ImageExplainer:
    """The three stages of the command.

    Attributes:
        config: The settings.
        classifier: The classifier to explain.
        explainer: The explanation method at its target layer.
        choose: Selects the classes to explain from logits, see ``choose_classes``.
    """

    config: GradcamConfig
    classifier: Classifier
    explainer: Explainer
    choose: Callable[[Tensor], Tensor]

    def read(self, item: Input) -> LoadedImage:
        """Read an image and prepare it for the network."""
        fit = fit_crop if self.config.fit == "crop" else fit_squash
        image = read_image(item.path, self.config.max_pixels)
        # Dozens of images wait in the queues: decoding a large one twice costs less than keeping it.
        kept = image if image.size <= MAX_KEPT_BYTES else None
        return LoadedImage(*fit(image, self.classifier.preprocessing), kept)

    def infer(self, batch: list[LoadedImage]) -> list[ImageExplanation | None]:
        """Explain a batch of images; None for an image whose scores or maps are not finite."""
        images = self.classifier.normalise(torch.stack([image.pixels for image in batch]))
        explained = self.explainer(images, self.choose)
        finite = (explained.logits.isfinite().all(1) & explained.maps.isfinite().flatten(1).all(1)).tolist()
        probabilities = explained.logits.softmax(1)
        order = top_classes(explained.logits, 3).tolist()
        maps = explained.maps.cpu().numpy()
        explanations: list[ImageExplanation | None] = []
        for n, image in enumerate(images):
            if not finite[n]:
                explanations.append(None)
                continue
            classes = []
            for k, index in enumerate(explained.classes[n].tolist()):
                rank = int(ranks_of(explained.logits[n : n + 1], explained.classes[n, k : k + 1]))
                scores = self._score(image, explained.maps[n, k], index) if self.config.faithfulness else None
                classes.append(ClassExplanation(rank, index, float(probabilities[n, index]), maps[n, k], scores))
            ranked = dict(enumerate(order[n], start=1)) | {each.rank: each.class_index for each in classes}
            top = [(rank, self._name(i), float(probabilities[n, i])) for rank, i in sorted(ranked.items())]
            explanations.append(ImageExplanation(top, classes))
        return explanations

    def write(self, item: Input, image: LoadedImage, explanation: ImageExplanation | None) -> WriteResult:
        """Write the pictures of an image, and return its rows of ``results.csv``.

        Raises:
            NonFiniteError: If there is no explanation.
        """
        if explanation is None:
            raise NonFiniteError
        if image.original is None:
            image = replace(image, original=read_image(item.path, self.config.max_pixels))
        assert image.original is not None
        folder = Path(self.config.folder)
        written: list[Path] = []
        rows = []
        for each in explanation.classes:
            row = {"image": item.name, "rank": each.rank, **self.classifier.name_class(each.class_index)}
            row["probability"] = each.probability
            name = f"class{each.class_index}" if self.config.classes else f"rank{each.rank}"
            saved = save_pictures(
                self.config,
                folder / f"{item.stem}.{name}",
                (image.original, image.window),
                each.values,
                caption=self._caption(each),
            )
            row |= {kind: path.relative_to(folder).as_posix() for kind, path in saved.items()}
            row |= asdict(each.scores) if each.scores else {}
            rows.append(row)
            written += saved.values()
        rows[0][TOP] = explanation.top
        return WriteResult(rows, written)

    def _name(self, index: int) -> str:
        return self.classifier.label(index) or str(index)

    def _caption(self, each: ClassExplanation) -> str:
        """Return the caption of a panel, the essential first because a long label is cut."""
        name = self.classifier.label(each.class_index) or f"class {each.class_index}"
        empty = "" if each.values.any() else "(the map is empty) "
        probability = f"{each.probability:.1%}" if each.probability >= 0.0005 else "below 0.1%"
        return f"rank {each.rank}, {probability}: {empty}{name}"

    def _score(self, image: Tensor, values: Tensor, index: int) -> Faithfulness:
        """Score one map: (3, h, w) normalised image, (h', w') map, index of the class."""
        resized = F.interpolate(values[None, None], size=image.shape[1:], mode="bilinear", align_corners=False)
        classifier = self.classifier

        def probability(images: Tensor) -> Tensor:
            with torch.inference_mode(), classifier.autocast():
                logits = classifier.network(images.contiguous(memory_format=classifier.layout)).float()
                return logits.softmax(1)[:, index]

        return faithfulness(image, min_max(resized)[0, 0], probability)
