"""Facts about the classification networks of cvkit, and ImageNet's normalisation."""

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ClassifierFacts:
    """The facts about a classification network that are needed before it is built.

    Attributes:
        name: Name of the network; no network of torchvision has it.
        summary: Its structure, in one line.
        source: The publication that describes it.
        size: Default input size (height, width) in pixels.
        min_size: Smallest side in pixels that it can process.
        channels: Default channels of the images: 1 (grey) or 3 (RGB).
        fixed_size: Whether a trained network accepts one input size only, because a dense layer follows a feature map.
        mean: Mean that is subtracted from each channel of images in 0..1; one value applies to all channels.
        std: Value by which each channel is then divided; one value applies to all channels.
    """

    name: str
    summary: str
    source: str
    size: tuple[int, int]
    min_size: int
    channels: int
    fixed_size: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


CLASSIFIERS: dict[str, ClassifierFacts] = {
    facts.name: facts
    for facts in (
        ClassifierFacts(
            name="basic-cnn",
            summary="five convolutions (64 to 256 maps), three max poolings, dense layers of 128 and 64, dropout",
            source="Géron 2022, Hands-On Machine Learning, 3rd edition, chapter 14",
            size=(28, 28),
            min_size=8,
            channels=1,
            fixed_size=True,
            # The source scales images to 0..1 and, in its second edition, also subtracts the mean of the data set.
            mean=(0.5,),
            std=(0.5,),
        ),
        ClassifierFacts(
            name="lenet5",
            summary="three 5x5 convolutions with average pooling and tanh, dense layer of 84",
            source="LeCun et al. 1998, Gradient-based learning applied to document recognition",
            # The network pads MNIST's 28x28 to the 32x32 of the paper. Black stays 0, the value of the padding.
            size=(28, 28),
            min_size=28,
            channels=1,
            fixed_size=True,
            mean=(0.0,),
            std=(1.0,),
        ),
        ClassifierFacts(
            name="alexnet-2012",
            summary="five convolutions with local response normalisation, dense layers of 4096, dropout",
            source="Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks",
            size=(227, 227),
            min_size=67,
            channels=3,
            fixed_size=True,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        ),
        ClassifierFacts(
            name="xception-mini",
            summary="five residual blocks of separable convolutions (32 to 512 maps), global average pooling",
            source="Chollet 2021, Deep Learning with Python, 2nd edition, section 9.3.5; after arXiv 1610.02357",
            size=(180, 180),
            # The last batch norm sees 2x2 positions; with one position it could not train on a batch of one image.
            min_size=21,
            channels=3,
            fixed_size=False,
            # The rescaling by 1/255 of the source.
            mean=(0.0,),
            std=(1.0,),
        ),
    )
}

# Networks without normalisation layers. At the learning rates of other networks their loss stays at that of chance.
VGG_WITHOUT_NORMS = ("vgg11", "vgg13", "vgg16", "vgg19")
UNNORMALISED = frozenset(
    (
        *("alexnet-2012", "alexnet", "squeezenet1_0", "squeezenet1_1"),
        *VGG_WITHOUT_NORMS,
        *(f"timm:{name}" for name in VGG_WITHOUT_NORMS),
    )
)
