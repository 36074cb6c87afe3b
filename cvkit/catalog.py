"""Which models cvkit knows: facts only, no torch."""

from dataclasses import dataclass

TIMM_PREFIX = "timm:"

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class SaliencyFacts:
    """What is known of a saliency network before it is built.

    ``size`` is the (height, width) in pixels images are brought to, ``min_size`` the smallest side it can process,
    ``loss`` the loss it is trained with when none is named, ``takes_backbone`` whether ``--backbone`` may replace
    VGG16.
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
# The names of IDX data sets' classes, by the SHA-256 of the labels (a byte each): MNIST's likes share its file names.
IDX_CLASSES: dict[str, tuple[str, ...]] = {
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": FASHION_MNIST,  # train
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9": FASHION_MNIST,  # test
}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a classifier's weights want their images.

    ``resize`` is what the shorter side becomes in pixels, or a (height, width) that the whole image is brought to;
    then the middle ``crop`` (height, width) is cut out, with black around where the image is smaller (timm's volo),
    scaled to 0..1 and normalised by ``mean`` and ``std`` (RGB).
    ``interpolation`` is nearest, bilinear, bicubic, box, hamming or lanczos, antialiased.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int]
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True, kw_only=True)
class TargetLayer:
    """The layer whose activation a class activation map is made of.

    ``name`` is one of the network's ``named_modules()``; ``relu`` takes its output after a ReLU, which the network
    applies as a function right behind it. ``layout`` is "nchw", "nhwc" (Swin) or "tokens" ((N, prefix + h * w, C), with
    ``prefix`` class or register tokens ahead of the patches), ``grid`` the (h, w) of the map.
    """

    name: str
    relu: bool = False
    layout: str = "nchw"
    grid: tuple[int, int] = (0, 0)
    prefix: int = 0


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A classifier with one entry of its weights.

    ``model`` is its name without the tag ("vgg16", "timm:resnet18"), ``tag`` names the weights ("IMAGENET1K_V1",
    "a1_in1k") and is None where none exist. ``labels`` and ``class_ids`` (WordNet) are in the order of the classes, or
    () where they are not known. ``file_bytes`` is the size of the weights file to within a kilobyte, ``top1`` the
    accuracy on ImageNet in per cent, both where the library tells. ``source`` is a URL, or a repository of the Hugging
    Face hub ("owner/name", with "@revision" and "/file" where timm names them), or "".
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
        """The name with its tag, which means this entry and no other."""
        return f"{self.model}.{self.tag}" if self.tag else self.model
