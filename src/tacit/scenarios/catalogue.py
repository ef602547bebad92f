"""The entries of the dataset registry: facts only. `datasets.py` finds, checks and fetches.

Sizes and sha256 are of the unpacked content. A file without an address is one that its public origin does not offer any
more in this form, or whose terms leave fetching to you: bring it. A file without a sha256 is taken as it is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetFile:
    """One file.

    Attributes:
        name: unpacked, without `.gz`.
        sha256: of the unpacked content, or None where no copy could be checked.
        size: bytes of the unpacked content, or None.
        url: where it is fetched from, or None.
        member: its name inside the zip archive at `url`, or None if `url` is the file itself.
        at_most: bytes after which fetching and reading stop, whatever the origin says.
    """

    name: str
    sha256: str | None = None
    size: int | None = None
    url: str | None = None
    member: str | None = None
    at_most: int = 512 * 2**20


@dataclass(frozen=True)
class Dataset:
    """One dataset: what it is, whence, under which terms, and its files."""

    name: str
    about: str
    origin: str
    terms: str
    files: tuple[DatasetFile, ...]


MOVIELENS_TERMS = (
    "MovieLens terms (README.txt of the release): research use; redistribution under the same terms; "
    "no commercial use without permission"
)
UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
MOVIELENS_ZIP = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
BEIJING_ZIP = f"{UCI}/00501/PRSA2017_Data_20130301-20170228.zip"

_ENTRIES = (
    Dataset(
        name="movielens-latest-small",
        about="Ratings of films by 671 people, release of October 2016 (app-recommendation)",
        origin="GroupLens Research, https://grouplens.org/datasets/movielens/ (offered there now: the 2018 release)",
        terms=MOVIELENS_TERMS,
        files=(
            DatasetFile(
                "ratings.csv", sha256="821795331fd974bbe7a8416f2a7eec2b548a485dedb47a073580b0a9a8a0a8d2", size=2_438_266
            ),
            DatasetFile(
                "movies.csv", sha256="a87480009b75ecd8d1e8f70700c534b6aefd57eed31b087ce8268ef6061a166c", size=458_390
            ),
        ),
    ),
    Dataset(
        name="movielens-latest-small-2018",
        about="Ratings of films by 610 people, release of September 2018 (app-recommendation)",
        origin="GroupLens Research, https://grouplens.org/datasets/movielens/",
        terms=MOVIELENS_TERMS,
        files=(
            DatasetFile(
                "ratings.csv",
                sha256="aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646",
                size=2_483_723,
                url=MOVIELENS_ZIP,
                member="ml-latest-small/ratings.csv",
            ),
            DatasetFile(
                "movies.csv",
                sha256="5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07",
                url=MOVIELENS_ZIP,
                member="ml-latest-small/movies.csv",
            ),
        ),
    ),
    Dataset(
        name="heart-disease",
        about="Patients of four hospitals, one file each",
        origin="UCI Machine Learning Repository, Heart Disease, https://archive.ics.uci.edu/dataset/45",
        terms="CC BY 4.0 as commonly stated of the UCI page; the donors ask to be named (heart-disease.names)",
        files=(
            DatasetFile(
                "processed.cleveland.data",
                sha256="a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
                size=18_461,
                url=f"{UCI}/heart-disease/processed.cleveland.data",
            ),
            DatasetFile(
                "processed.hungarian.data",
                sha256="d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
                size=10_263,
                url=f"{UCI}/heart-disease/processed.hungarian.data",
            ),
            DatasetFile(
                "processed.switzerland.data",
                sha256="834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
                size=4_109,
                url=f"{UCI}/heart-disease/processed.switzerland.data",
            ),
            DatasetFile(
                "processed.va.data",
                sha256="e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
                size=6_737,
                url=f"{UCI}/heart-disease/processed.va.data",
            ),
        ),
    ),
    Dataset(
        name="parkinsons-telemonitoring",
        about="Voice measures of 42 patients at home",
        origin="UCI Machine Learning Repository, Parkinsons Telemonitoring, https://archive.ics.uci.edu/dataset/189",
        terms="CC BY 4.0 as commonly stated of the UCI page",
        files=(
            DatasetFile(
                "parkinsons_updrs.data",
                sha256="f2c7d5025dec4e92e7feae367a5f7ccf58789a10ac6b54bdf15976c599f9dd39",
                size=911_261,
                url=f"{UCI}/parkinsons/telemonitoring/parkinsons_updrs.data",
            ),
        ),
    ),
    Dataset(
        name="cmapss",
        about="Simulated turbofan engines run to failure, subset FD001",
        origin="NASA Ames Prognostics Data Repository, Turbofan Engine Degradation Simulation",
        terms="US government data, freely published; cite Saxena et al., PHM08",
        files=(
            DatasetFile(
                "train_FD001.txt",
                sha256="963b5e22825b34d8b21c69e1aeb4af3e647050eb672ee8834ba4b5d91d2de0f8",
                size=3_515_356,
            ),
            DatasetFile(
                "test_FD001.txt",
                sha256="3cda7109ce17bafb5443f2ac926cfcf88154b941b8c4cf95eb55d1ddd6f52851",
                size=2_228_855,
            ),
            DatasetFile(
                "RUL_FD001.txt", sha256="a19c8ec94931949d0485bdc35118206e9c81c4547b422efb9cf86f4ceddbceca", size=429
            ),
        ),
    ),
    Dataset(
        name="ai4i2020",
        about="Machine failures, synthetic by its author",
        origin="UCI Machine Learning Repository, AI4I 2020, https://archive.ics.uci.edu/dataset/601",
        terms="CC BY 4.0 as commonly stated of the UCI page",
        files=(
            DatasetFile(
                "ai4i2020.csv",
                sha256="dc6630cd9b1f0f853922fad78a1b6436570d3f1ec863f1dd5c4340ac56bc8a8e",
                size=522_048,
                url=f"{UCI}/00601/ai4i2020.csv",
            ),
        ),
    ),
    Dataset(
        name="credit-default-taiwan",
        about="Credit card clients and their defaults",
        origin="UCI Machine Learning Repository, https://archive.ics.uci.edu/dataset/350, as the CSV known from Kaggle",
        terms="CC BY 4.0 as commonly stated of the UCI page",
        files=(
            DatasetFile(
                "UCI_Credit_Card.csv",
                sha256="a02937f10611d2baa2d2300ea35cb681553f82b4c242469747ceb98456d291af",
                size=2_875_731,
            ),
        ),
    ),
    Dataset(
        name="beijing-air-quality",
        about="Hourly air quality at nine stations",
        origin="UCI Machine Learning Repository, Beijing Multi-Site Air Quality, https://archive.ics.uci.edu/dataset/501",
        terms="CC BY 4.0 as commonly stated of the UCI page",
        files=(
            DatasetFile(
                "PRSA_Data_Aotizhongxin_20130301-20170228.csv",
                sha256="a94fbcfc71708b6ffdc033360163d91efb7f675e496f6b5860929aa96b96351b",
                size=2_835_916,
                url=BEIJING_ZIP,
                member="PRSA_Data_20130301-20170228/PRSA_Data_Aotizhongxin_20130301-20170228.csv",
            ),
            DatasetFile(
                "PRSA_Data_Changping_20130301-20170228.csv",
                sha256="a2e21402a6d95fb7043f87959e6e3dcbecb957aac356a6f8028a85b047c772e7",
                size=2_722_295,
                url=BEIJING_ZIP,
                member="PRSA_Data_20130301-20170228/PRSA_Data_Changping_20130301-20170228.csv",
            ),
            DatasetFile(
                "PRSA_Data_Dingling_20130301-20170228.csv",
                sha256="3d8dff81f18a80d9f455876a785642bffe1e9b9924ec1e6b7ce8cca790432eeb",
                size=2_675_856,
                url=BEIJING_ZIP,
                member="PRSA_Data_20130301-20170228/PRSA_Data_Dingling_20130301-20170228.csv",
            ),
            DatasetFile(
                "PRSA_Data_Dongsi_20130301-20170228.csv",
                sha256="9c0020214425e5ee2a64d42f97a1f632e1d8f6b53ad50edd85a686cc7999f27e",
                size=2_636_684,
                url=BEIJING_ZIP,
                member="PRSA_Data_20130301-20170228/PRSA_Data_Dongsi_20130301-20170228.csv",
            ),
            DatasetFile(
                "PRSA_Data_Guanyuan_20130301-20170228.csv",
                sha256="59390fee3b032597b387491f5230e7edb90a8558e30217ebd6d9befbe669fbf9",
                size=2_695_860,
                url=BEIJING_ZIP,
                member="PRSA_Data_20130301-20170228/PRSA_Data_Guanyuan_20130301-20170228.csv",
            ),
            DatasetFile(
                "PRSA_Data_Huairou_20130301-20170228.csv",
                sha256="812dcbe848b3ba2c2d25731064797bff803c46eb0c602156a1fa044df136dc26",
                size=2_641_027,
                url=BEIJING_ZIP,
                member="PRSA_Data_20130301-20170228/PRSA_Data_Huairou_20130301-20170228.csv",
            ),
            DatasetFile(
                "PRSA_Data_Shunyi_20130301-20170228.csv",
                sha256="520b59e4ead3b0cfe7f1ed673e30275de8441e999db6f413d5172d2277b8c15a",
                size=2_620_654,
                url=BEIJING_ZIP,
                member="PRSA_Data_20130301-20170228/PRSA_Data_Shunyi_20130301-20170228.csv",
            ),
            DatasetFile(
                "PRSA_Data_Tiantan_20130301-20170228.csv",
                sha256="0743e34799cf1ee36195b73321b91baa5625276532e7263c588f68cdef3b4daa",
                size=2_655_061,
                url=BEIJING_ZIP,
                member="PRSA_Data_20130301-20170228/PRSA_Data_Tiantan_20130301-20170228.csv",
            ),
            DatasetFile(
                "PRSA_Data_Wanshouxigong_20130301-20170228.csv",
                sha256="ab1d6a356d6997a45f6d657ad47de1e05a4a08d4a7015b38a329a90665ab74d0",
                size=2_871_076,
                url=BEIJING_ZIP,
                member="PRSA_Data_20130301-20170228/PRSA_Data_Wanshouxigong_20130301-20170228.csv",
            ),
        ),
    ),
    Dataset(
        name="mnist",
        about="Handwritten digits",
        origin="MNIST of LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/",
        terms="CC BY-SA 3.0 as commonly stated",
        files=(
            DatasetFile(
                "train-images-idx3-ubyte",
                sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                size=47_040_016,
            ),
            DatasetFile(
                "train-labels-idx1-ubyte",
                sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                size=60_008,
            ),
            DatasetFile(
                "t10k-images-idx3-ubyte",
                sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                size=7_840_016,
            ),
            DatasetFile(
                "t10k-labels-idx1-ubyte",
                sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                size=10_008,
            ),
        ),
    ),
    Dataset(
        name="shakespeare",
        about="Plays of Shakespeare, split by speaking role",
        origin="A. Karpathy, char-rnn, https://github.com/karpathy/char-rnn",
        terms="text in the public domain",
        files=(
            DatasetFile(
                "input.txt",
                sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                size=1_115_394,
                url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            ),
        ),
    ),
    Dataset(
        name="lsapp",
        about="App usage of 292 people, 87 apps (app-recommendation)",
        origin="https://github.com/aliannejadi/LSApp (lsapp.tsv.gz)",
        terms="its authors state no licence: ask them; cite Aliannejadi et al., ACM TOIS 2021",
        files=(DatasetFile("lsapp.tsv.gz"),),
    ),
    Dataset(
        name="frappe",
        about="App usage by context, 957 people (app-recommendation)",
        origin="https://www.baltrunas.info/research-menu/frappe (frappe.csv)",
        terms="its terms forbid redistribution: fetch it from its authors; cite Baltrunas et al., arXiv:1505.03014",
        files=(DatasetFile("frappe.csv"),),
    ),
)

CATALOGUE: dict[str, Dataset] = {entry.name: entry for entry in _ENTRIES}
