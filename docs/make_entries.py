"""Write cvkit/models/published/entries.json.gz, the weights that `cvkit models list` shows without importing torch.

    python docs/make_entries.py

Run it when a new version of torchvision or timm is supported; it takes a few seconds.
tests/models/published/test_table.py fails when the file differs from the installed libraries of the same version.

The file is gzipped JSON, the same bytes for the same entries:

    versions        {library: version} that the entries come from
    libraries       {library: {model: [entry, ...]}}, the default entry first; an entry is a list of its tag, index into
                    "preprocessing", number of classes, whether the names of the classes are known, licence, bytes of
                    the file, top-1 accuracy in per cent, and source
    preprocessing   distinct preprocessings
"""

from cvkit.models.published.table import DATA, LIBRARIES, encode, from_library


def main() -> None:
    """Write the data file."""
    tables = {library: from_library(library) for library in LIBRARIES}
    DATA.write_bytes(encode(tables))
    for library, table in tables.items():
        print(f"{library}: {len(table)} classifiers, {sum(map(len, table.values()))} entries")
    print(f"{DATA}: {DATA.stat().st_size} bytes")


if __name__ == "__main__":
    main()
