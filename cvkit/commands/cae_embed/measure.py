"""Embed a data set with an autoencoder and with the projections it is compared with."""

import numpy as np

from cvkit.config import CaeEmbedConfig
from cvkit.data.collection import Collection
from cvkit.data.image_set import ImageSet
from cvkit.progress import Note, Reporter, Stage, StageEnd, Step
from cvkit.tasks.embedding import projections
from cvkit.tasks.embedding.comparison import METHOD_TITLES, Codes, MethodEmbedding
from cvkit.tasks.embedding.embedder import Embedder


def codes_of(embedder: Embedder, part: ImageSet, title: str, listen: Reporter) -> Codes:
    """Return the codes (N, latent_dim) of all images of a split."""
    listen(Stage(title, len(part)))
    # Into one array: small tensors that stay between large ones that go would break up the memory.
    codes = np.empty((len(part), embedder.spec.latent_dim), np.float32)
    done = 0
    for block in embedder.codes(part.images):
        codes[done : done + len(block)] = block.cpu().numpy()
        done += len(block)
        listen(Step(done))
    listen(StageEnd())
    return codes


def embed(
    config: CaeEmbedConfig, embedder: Embedder, collection: Collection, listen: Reporter
) -> tuple[list[MethodEmbedding], projections.Pca | None]:
    """Return the autoencoder's space and those it is compared with, and PCA itself where it is among them."""
    splits = {name: part for name, part in collection.splits.items() if name in {"train", "test", *config.embed}}
    own = {name: codes_of(embedder, part, f"embedding {name} images", listen) for name, part in splits.items()}
    spaces = [MethodEmbedding(name="cae", codes=own)]
    arrays = {name: part.images.numpy() for name, part in splits.items()}
    pca = None
    for name in dict.fromkeys(config.compare):
        if name == "none":
            continue
        images = arrays["test" if name == "tsne" else "train"]
        if name != "pca" and not projections.can_project(images):
            listen(
                Note(
                    f"{METHOD_TITLES[name]} is left out: it needs five images or more that are not all alike", "warning"
                )
            )
            continue
        listen(Stage(f"fitting {METHOD_TITLES[name]}", 1, "projections"))
        if name == "pca":
            pca = projections.Pca(arrays["train"], embedder.spec.latent_dim, config.seed)
            if pca.fitted_on < len(arrays["train"]):
                listen(Note(f"PCA is fitted on {pca.fitted_on} train images, drawn at random"))
            spaces.append(
                MethodEmbedding(name=name, codes={part: pca.encode(images) for part, images in arrays.items()})
            )
        elif name == "tsne":
            listen(Note("t-SNE has no map for new images: it lays out the test images alone"))
            spaces.append(MethodEmbedding(name=name, codes={"test": projections.tsne(arrays["test"], config.seed)}))
        else:
            train, test = projections.umap(arrays["train"], arrays["test"], config.seed)
            spaces.append(MethodEmbedding(name=name, codes={"train": train, "test": test}))
        listen(Step(1))
        listen(StageEnd())
    return spaces, pca
