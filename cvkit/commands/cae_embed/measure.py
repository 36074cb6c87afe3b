"""Embed a data set with an autoencoder and with other projections."""

import numpy as np

from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection
from cvkit.data.image_set import ImageSet
from cvkit.errors import WeightsError
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.embedding import projections
from cvkit.tasks.embedding.comparison import METHOD_TITLES, Codes, MethodEmbedding
from cvkit.tasks.embedding.embedder import Embedder


def codes_of(embedder: Embedder, part: ImageSet, title: str, report: Reporter) -> Codes:
    """Return the (N, latent_dim) float32 codes of all images of a split.

    Raises:
        WeightsError: If a code is not finite. The scores and pictures describe all images, so none is left out.
    """
    report(Stage(title, len(part)))
    # One array for all codes: small tensors kept between large temporary ones would fragment the memory.
    codes = np.empty((len(part), embedder.spec.latent_dim), np.float32)
    done = 0
    for block in embedder.codes(part.images):
        codes[done : done + len(block)] = block.cpu().numpy()
        done += len(block)
        report(Step(done))
    report(StageEnd())
    finite = np.isfinite(codes).all(1)
    if not finite.all():
        raise WeightsError(
            f"the codes of {(~finite).sum()} images are NaN or infinite, such as that of "
            f"{part.names[int(finite.argmin())]}: the weights do not fit these images, and nothing was embedded."
        )
    return codes


def embed(
    config: CaeEmbedConfig, embedder: Embedder, collection: Collection, report: Reporter
) -> tuple[list[MethodEmbedding], projections.Pca | None]:
    """Return the codes of the autoencoder and of each projection, and the fitted PCA if it is one of them."""
    splits = {name: part for name, part in collection.splits.items() if name in {"train", "test", *config.embed}}
    own = {name: codes_of(embedder, part, f"embedding {name} images", report) for name, part in splits.items()}
    spaces = [MethodEmbedding(name="cae", codes=own)]
    arrays = {name: part.images.numpy() for name, part in splits.items()}
    pca = None
    for name in dict.fromkeys(config.compare):
        if name == "none":
            continue
        images = arrays["test" if name == "tsne" else "train"]
        if name != "pca" and not projections.can_project(images):
            report(
                Note(
                    f"{METHOD_TITLES[name]} is left out: it needs at least five images that are not all equal",
                    "warning",
                )
            )
            continue
        report(Stage(f"fitting {METHOD_TITLES[name]}", 1, "projections"))
        if name == "pca":
            pca = projections.Pca(arrays["train"], embedder.spec.latent_dim, config.seed)
            if pca.fitted_on < len(arrays["train"]):
                report(Note(f"PCA is fitted on {pca.fitted_on} train images, drawn at random"))
            spaces.append(
                MethodEmbedding(name=name, codes={part: pca.encode(images) for part, images in arrays.items()})
            )
        elif name == "tsne":
            report(Note("t-SNE cannot project new images, so it embeds only the test images"))
            spaces.append(MethodEmbedding(name=name, codes={"test": projections.tsne(arrays["test"], config.seed)}))
        else:
            train, test = projections.umap(arrays["train"], arrays["test"], config.seed)
            spaces.append(MethodEmbedding(name=name, codes={"train": train, "test": test}))
        report(Step(1))
        report(StageEnd())
    return spaces, pca
