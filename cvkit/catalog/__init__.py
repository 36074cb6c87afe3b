"""Facts about models, weights, metrics and image formats, without torch."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from cvkit.catalog.classifiers import CLASSIFIERS as CLASSIFIERS
from cvkit.catalog.classifiers import IMAGENET_MEAN, IMAGENET_STD
from cvkit.catalog.classifiers import UNNORMALISED as UNNORMALISED
from cvkit.catalog.classifiers import ClassifierFacts as ClassifierFacts

TIMM_PREFIX = "timm:"

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")  # of Pillow
CROP_MODES = ("center", "squash", "border")  # of timm

# The image formats that cvkit opens: Pillow's name, and the suffixes by which files are found in folders. Pillow knows
# more formats, but some of them start other programs (EPS runs Ghostscript) or have decoders that are rarely tested.
IMAGE_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pnm"),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in IMAGE_FORMATS.values() for suffix in suffixes)


@dataclass(frozen=True, kw_only=True)
class SaliencyFacts:
    """The facts about a saliency network that are needed before it is built.

    Attributes:
        name: Name of the network.
        summary: Its structure, in one line.
        source: The publication that describes it.
        size: Default input size (height, width) in pixels.
        min_size: Smallest side in pixels that it can process.
        loss: Default training loss.
        alpha: Default alpha of the MLNet loss, which divides squared errors by alpha minus the target.
        dropout: Default dropout probability.
        prior: Whether it learns a centre prior by default.
        takes_backbone: Whether another backbone may replace VGG16.
    """

    name: str
    summary: str
    source: str
    size: tuple[int, int]
    min_size: int
    loss: str
    alpha: float
    dropout: float
    prior: bool
    takes_backbone: bool


SALIENCY_MODELS: dict[str, SaliencyFacts] = {
    facts.name: facts
    for facts in (
        SaliencyFacts(
            name="mlnet",
            summary="multi-level features at 1/4 of the input (pool2, pool3, conv4_1 of VGG16: 896 channels)",
            source="after Cornia et al. 2016, arXiv 1609.01064",
            size=(240, 320),
            min_size=32,
            loss="kl-cc-nss",
            alpha=1.01,
            dropout=0.5,
            prior=False,
            takes_backbone=True,
        ),
        SaliencyFacts(
            name="mlnet-paper",
            summary="multi-level features at 1/8 (pool3, pool4, conv5_3: 1280 channels) with the learned prior",
            source="Cornia et al. 2016, arXiv 1609.01064",
            size=(480, 640),
            min_size=32,
            loss="mlnet",
            alpha=1.1,
            dropout=0.5,
            prior=True,
            takes_backbone=True,
        ),
        SaliencyFacts(
            name="encoder-decoder",
            summary="VGG16 encoder and mirrored decoder, 512 channels in conv10",
            source="after Pan et al. 2017, arXiv 1701.01081",
            size=(224, 224),
            min_size=32,
            loss="bce",
            alpha=1.01,
            dropout=0.0,
            prior=False,
            takes_backbone=False,
        ),
        SaliencyFacts(
            name="salgan",
            summary="the generator of SalGAN: VGG16 encoder and decoder, 64 channels in conv10",
            source="Pan et al. 2017, arXiv 1701.01081",
            size=(192, 256),
            min_size=32,
            loss="bce",
            alpha=1.01,
            dropout=0.0,
            prior=False,
            takes_backbone=False,
        ),
    )
}


FASHION_MNIST = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Class names of IDX data sets by the SHA-256 of their labels (one byte each), because data sets in MNIST's format use
# its file names.
IDX_CLASSES: dict[str, tuple[str, ...]] = {
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": FASHION_MNIST,  # train
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9": FASHION_MNIST,  # test
}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preprocessing that a classifier's weights were trained with: resize, crop, scale to 0..1, normalise.

    Attributes:
        resize: Length of the shorter side in pixels after resizing, or a (height, width), see ``crop_mode``.
        crop: Size (height, width) of the centre crop; a smaller image is padded with ``fill`` (timm's volo).
        interpolation: One of ``INTERPOLATIONS``, antialiased.
        mean: Mean per RGB channel.
        std: Standard deviation per RGB channel.
        crop_mode: How an image gets the (height, width) ``resize``: None or ``squash`` stretch it to this size;
            ``center`` keeps its aspect ratio and covers the size; ``border`` keeps its aspect ratio and fits the image
            into the size. None with a ``resize`` of one length.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int]
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    crop_mode: str | None = None

    @property
    def mode(self) -> str:
        """The crop mode as timm names it, one of ``CROP_MODES``."""
        return self.crop_mode or ("center" if isinstance(self.resize, int) else "squash")

    @property
    def fill(self) -> tuple[int, ...]:
        """The colour (R, G, B) of padding: the mean for ``border``, as in timm, else black."""
        return (
            tuple(min(255, max(0, round(255 * value))) for value in self.mean) if self.mode == "border" else (0, 0, 0)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; ``crop_mode`` only where it is set, as in files of earlier versions."""
        return {name: value for name, value in asdict(self).items() if name != "crop_mode" or value is not None}


@dataclass(frozen=True, kw_only=True)
class TargetLayer:
    """The layer from whose activation a class activation map is computed.

    Attributes:
        name: A name of the network's ``named_modules()``.
        relu: Whether to apply a ReLU to its output, as the network does in a function call after the layer.
        layout: Layout of the activation: ``nchw``, ``nhwc`` (Swin) or ``tokens`` ((N, prefix + h * w, C)).
        grid: Size (h, w) of the map.
        prefix: Number of class and register tokens before the patch tokens.
    """

    name: str
    relu: bool = False
    layout: str = "nchw"
    grid: tuple[int, int] = (0, 0)
    prefix: int = 0


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A classifier with one set of its published weights.

    Attributes:
        model: Name without the tag (``vgg16``, ``timm:resnet18``).
        tag: Name of the weights (``IMAGENET1K_V1``, ``a1_in1k``); None if no weights are published.
        preprocessing: The preprocessing that the weights expect.
        num_classes: Number of classes.
        labels: Class names in the order of the classes; empty if unknown.
        class_ids: WordNet identifiers in the order of the classes; empty if unknown.
        licence: Licence of the weights, None if unknown.
        file_bytes: Size of the weights file to within a kilobyte, None if unknown.
        top1: Top-1 accuracy on ImageNet in per cent, None if unknown.
        source: A URL, or a repository of the Hugging Face hub (``owner/name``, with ``@revision`` and ``/file`` where
            timm gives them); empty if unknown.
    """

    model: str
    tag: str | None
    preprocessing: Preprocessing
    num_classes: int
    labels: tuple[str, ...] = ()
    class_ids: tuple[str, ...] = ()
    licence: str | None = None
    file_bytes: int | None = None
    top1: float | None = None
    source: str = ""

    @property
    def name(self) -> str:
        """The name with its tag, which identifies the weights."""
        return f"{self.model}.{self.tag}" if self.tag else self.model


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The facts about a metric that tables, plots and the choice of the best epoch need.

    Attributes:
        name: Key in histories, tables and JSON files.
        label: Name to show.
        higher_is_better: Direction of improvement.
        low: Smallest possible value.
        high: Largest possible value.
    """

    name: str
    label: str
    higher_is_better: bool
    low: float = -math.inf
    high: float = math.inf


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="loss", label="loss", higher_is_better=False),
        # Saliency maps.
        Metric(name="auc_judd", label="AUC-Judd", higher_is_better=True, low=0, high=1),
        Metric(name="auc_borji", label="AUC-Borji", higher_is_better=True, low=0, high=1),
        Metric(name="auc_shuffled", label="shuffled AUC", higher_is_better=True, low=0, high=1),
        Metric(name="auc", label="AUC", higher_is_better=True, low=0, high=1),
        Metric(name="sauc", label="shuffled AUC", higher_is_better=True, low=0, high=1),
        Metric(name="nss", label="NSS", higher_is_better=True),
        Metric(name="cc", label="CC", higher_is_better=True, low=-1, high=1),
        Metric(name="sim", label="SIM", higher_is_better=True, low=0, high=1),
        Metric(name="kl", label="KL", higher_is_better=False, low=0),
        Metric(name="ig", label="information gain", higher_is_better=True),
        Metric(name="emd", label="EMD", higher_is_better=False, low=0),
        # Embeddings and reconstructions.
        Metric(name="bce", label="BCE", higher_is_better=False, low=0),
        Metric(name="mse", label="MSE", higher_is_better=False, low=0),
        Metric(name="knn_accuracy", label="10-NN accuracy", higher_is_better=True, low=0, high=1),
        Metric(name="trustworthiness", label="trustworthiness", higher_is_better=True, low=0, high=1),
        Metric(name="continuity", label="continuity", higher_is_better=True, low=0, high=1),
        # Faithfulness of class activation maps.
        Metric(name="drop", label="drop", higher_is_better=False, low=0, high=1),
        Metric(name="increase", label="increase", higher_is_better=True, low=0, high=1),
        Metric(name="deletion", label="deletion", higher_is_better=False, low=0, high=1),
        Metric(name="insertion", label="insertion", higher_is_better=True, low=0, high=1),
        Metric(name="road", label="ROAD", higher_is_better=True, low=-0.5, high=0.5),
        # Classification.
        Metric(name="top1", label="top-1 accuracy", higher_is_better=True, low=0, high=1),
        Metric(name="top5", label="top-5 accuracy", higher_is_better=True, low=0, high=1),
        Metric(name="balanced", label="balanced accuracy", higher_is_better=True, low=0, high=1),
        Metric(name="accuracy", label="accuracy", higher_is_better=True, low=0, high=1),
        Metric(name="top5_accuracy", label="top-5 accuracy", higher_is_better=True, low=0, high=1),
        Metric(name="ece", label="calibration error", higher_is_better=False, low=0, high=1),
        Metric(name="macro_f1", label="macro F1", higher_is_better=True, low=0, high=1),
        Metric(name="log_loss", label="log loss", higher_is_better=False, low=0),
    )
}
