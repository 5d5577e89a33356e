"""What to cite: papers by key, which part of a run each stands for, and BibTeX of them.

Importing this module imports neither PyTorch nor pydantic.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from mezzotint import __version__
from mezzotint.errors import InputError, UsageError
from mezzotint.methods.table import MethodCard, cards, find

if TYPE_CHECKING:
    from mezzotint.record import Record


@dataclass(frozen=True)
class Entry:
    """One work to cite, as its publisher names it; "" where a field does not apply or is not known.

    `authors` are (family name, given names) in order; a group has no given names. `arxiv` is an identifier without
    version. `pages` has one hyphen between first and last. `url` is for works that have neither number nor pages.
    """

    key: str
    kind: Literal["article", "inproceedings", "misc"]
    title: str
    authors: tuple[tuple[str, str], ...]
    year: int | None = None
    journal: str = ""
    booktitle: str = ""
    volume: str = ""
    number: str = ""
    pages: str = ""
    publisher: str = ""
    version: str = ""
    arxiv: str = ""
    doi: str = ""
    url: str = ""


@dataclass(frozen=True)
class Citation:
    """One work and the parts of a run or a method that it stands for ("bridge vp", "sampler ancestral")."""

    entry: Entry
    parts: tuple[str, ...]


_ICLR = "International Conference on Learning Representations"
_ICML = "International Conference on Machine Learning"
_NEURIPS = "Advances in Neural Information Processing Systems"
_CVPR = "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition"
_CVPR_WORKSHOPS = "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops"
_TPAMI = "IEEE Transactions on Pattern Analysis and Machine Intelligence"

_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "moser2025survey",
        "article",
        "Diffusion Models, Image Super-Resolution, and Everything: A Survey",
        (
            ("Moser", "Brian B."),
            ("Shanbhag", "Arundhati S."),
            ("Raue", "Federico"),
            ("Frolov", "Stanislav"),
            ("Palacio", "Sebastian"),
            ("Dengel", "Andreas"),
        ),
        2025,
        journal="IEEE Transactions on Neural Networks and Learning Systems",
        volume="36",
        number="7",
        pages="11793-11813",
        arxiv="2401.00736",
        doi="10.1109/TNNLS.2024.3476671",
    ),
    Entry(
        "keys1981cubic",
        "article",
        "Cubic Convolution Interpolation for Digital Image Processing",
        (("Keys", "Robert G."),),
        1981,
        journal="IEEE Transactions on Acoustics, Speech, and Signal Processing",
        volume="29",
        number="6",
        pages="1153-1160",
        doi="10.1109/TASSP.1981.1163711",
    ),
    Entry(
        "duchon1979lanczos",
        "article",
        "Lanczos Filtering in One and Two Dimensions",
        (("Duchon", "Claude E."),),
        1979,
        journal="Journal of Applied Meteorology",
        volume="18",
        number="8",
        pages="1016-1022",
        doi="10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2",
    ),
    Entry(
        "irani1991improving",
        "article",
        "Improving Resolution by Image Registration",
        (("Irani", "Michal"), ("Peleg", "Shmuel")),
        1991,
        journal="CVGIP: Graphical Models and Image Processing",
        volume="53",
        number="3",
        pages="231-239",
    ),
    Entry(
        "wan2023span",
        "misc",
        "Swift Parameter-free Attention Network for Efficient Super-Resolution",
        (
            ("Wan", "Cheng"),
            ("Yu", "Hongyuan"),
            ("Li", "Zhiqi"),
            ("Chen", "Yihang"),
            ("Zou", "Yajun"),
            ("Liu", "Yuqing"),
            ("Yin", "Xuanwu"),
            ("Zuo", "Kunlong"),
        ),
        2023,
        arxiv="2311.12770",
    ),
    Entry(
        "lim2017enhanced",
        "inproceedings",
        "Enhanced Deep Residual Networks for Single Image Super-Resolution",
        (
            ("Lim", "Bee"),
            ("Son", "Sanghyun"),
            ("Kim", "Heewon"),
            ("Nah", "Seungjun"),
            ("Lee", "Kyoung Mu"),
        ),
        2017,
        booktitle=_CVPR_WORKSHOPS,
        arxiv="1707.02921",
        doi="10.1109/CVPRW.2017.151",
    ),
    Entry(
        "saharia2023sr3",
        "article",
        "Image Super-Resolution via Iterative Refinement",
        (
            ("Saharia", "Chitwan"),
            ("Ho", "Jonathan"),
            ("Chan", "William"),
            ("Salimans", "Tim"),
            ("Fleet", "David J."),
            ("Norouzi", "Mohammad"),
        ),
        2023,
        journal=_TPAMI,
        volume="45",
        number="4",
        pages="4713-4726",
        arxiv="2104.07636",
        doi="10.1109/TPAMI.2022.3204461",
    ),
    Entry(
        "ho2020denoising",
        "inproceedings",
        "Denoising Diffusion Probabilistic Models",
        (("Ho", "Jonathan"), ("Jain", "Ajay"), ("Abbeel", "Pieter")),
        2020,
        booktitle=_NEURIPS,
        volume="33",
        pages="6840-6851",
        arxiv="2006.11239",
    ),
    Entry(
        "song2021denoising",
        "inproceedings",
        "Denoising Diffusion Implicit Models",
        (("Song", "Jiaming"), ("Meng", "Chenlin"), ("Ermon", "Stefano")),
        2021,
        booktitle=_ICLR,
        arxiv="2010.02502",
    ),
    Entry(
        "song2021score",
        "inproceedings",
        "Score-Based Generative Modeling through Stochastic Differential Equations",
        (
            ("Song", "Yang"),
            ("Sohl-Dickstein", "Jascha"),
            ("Kingma", "Diederik P."),
            ("Kumar", "Abhishek"),
            ("Ermon", "Stefano"),
            ("Poole", "Ben"),
        ),
        2021,
        booktitle=_ICLR,
        arxiv="2011.13456",
    ),
    Entry(
        "nichol2021improved",
        "inproceedings",
        "Improved Denoising Diffusion Probabilistic Models",
        (("Nichol", "Alexander Quinn"), ("Dhariwal", "Prafulla")),
        2021,
        booktitle=_ICML,
        pages="8162-8171",
        publisher="PMLR",
        arxiv="2102.09672",
    ),
    Entry(
        "salimans2022progressive",
        "inproceedings",
        "Progressive Distillation for Fast Sampling of Diffusion Models",
        (("Salimans", "Tim"), ("Ho", "Jonathan")),
        2022,
        booktitle=_ICLR,
        arxiv="2202.00512",
    ),
    Entry(
        "karras2022elucidating",
        "inproceedings",
        "Elucidating the Design Space of Diffusion-Based Generative Models",
        (("Karras", "Tero"), ("Aittala", "Miika"), ("Aila", "Timo"), ("Laine", "Samuli")),
        2022,
        booktitle=_NEURIPS,
        arxiv="2206.00364",
    ),
    Entry(
        "hoogeboom2023simple",
        "inproceedings",
        "simple diffusion: End-to-end diffusion for high resolution images",
        (("Hoogeboom", "Emiel"), ("Heek", "Jonathan"), ("Salimans", "Tim")),
        2023,
        booktitle=_ICML,
        pages="13213-13232",
        publisher="PMLR",
        arxiv="2301.11093",
    ),
    Entry(
        "ronneberger2015unet",
        "inproceedings",
        "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        (("Ronneberger", "Olaf"), ("Fischer", "Philipp"), ("Brox", "Thomas")),
        2015,
        booktitle="Medical Image Computing and Computer-Assisted Intervention (MICCAI)",
        arxiv="1505.04597",
    ),
    Entry(
        "whang2022deblurring",
        "inproceedings",
        "Deblurring via Stochastic Refinement",
        (
            ("Whang", "Jay"),
            ("Delbracio", "Mauricio"),
            ("Talebi", "Hossein"),
            ("Saharia", "Chitwan"),
            ("Dimakis", "Alexandros G."),
            ("Milanfar", "Peyman"),
        ),
        2022,
        booktitle=_CVPR,
        pages="16293-16303",
        arxiv="2112.02475",
    ),
    Entry(
        "moser2024waving",
        "inproceedings",
        "Waving Goodbye to Low-Res: A Diffusion-Wavelet Approach for Image Super-Resolution",
        (
            ("Moser", "Brian B."),
            ("Frolov", "Stanislav"),
            ("Raue", "Federico"),
            ("Palacio", "Sebastian"),
            ("Dengel", "Andreas"),
        ),
        2024,
        booktitle="International Joint Conference on Neural Networks (IJCNN)",
        arxiv="2304.01994",
        doi="10.1109/IJCNN60899.2024.10651227",
    ),
    Entry(
        "yue2023resshift",
        "inproceedings",
        "ResShift: Efficient Diffusion Model for Image Super-resolution by Residual Shifting",
        (("Yue", "Zongsheng"), ("Wang", "Jianyi"), ("Loy", "Chen Change")),
        2023,
        booktitle=_NEURIPS,
        arxiv="2307.12348",
    ),
    Entry(
        "liu2023i2sb",
        "inproceedings",
        "I2SB: Image-to-Image Schrödinger Bridge",
        (
            ("Liu", "Guan-Horng"),
            ("Vahdat", "Arash"),
            ("Huang", "De-An"),
            ("Theodorou", "Evangelos A."),
            ("Nie", "Weili"),
            ("Anandkumar", "Anima"),
        ),
        2023,
        booktitle=_ICML,
        arxiv="2302.05872",
    ),
    Entry(
        "song2019generative",
        "inproceedings",
        "Generative Modeling by Estimating Gradients of the Data Distribution",
        (("Song", "Yang"), ("Ermon", "Stefano")),
        2019,
        booktitle=_NEURIPS,
        volume="32",
        arxiv="1907.05600",
    ),
    Entry(
        "song2020improved",
        "inproceedings",
        "Improved Techniques for Training Score-Based Generative Models",
        (("Song", "Yang"), ("Ermon", "Stefano")),
        2020,
        booktitle=_NEURIPS,
        volume="33",
        arxiv="2006.09011",
    ),
    Entry(
        "li2022srdiff",
        "article",
        "SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models",
        (
            ("Li", "Haoying"),
            ("Yang", "Yifan"),
            ("Chang", "Meng"),
            ("Chen", "Shiqi"),
            ("Feng", "Huajun"),
            ("Xu", "Zhihai"),
            ("Li", "Qi"),
            ("Chen", "Yueting"),
        ),
        2022,
        journal="Neurocomputing",
        volume="479",
        pages="47-59",
        arxiv="2104.14951",
    ),
    Entry(
        "bansal2023cold",
        "inproceedings",
        "Cold Diffusion: Inverting Arbitrary Image Transforms Without Noise",
        (
            ("Bansal", "Arpit"),
            ("Borgnia", "Eitan"),
            ("Chu", "Hong-Min"),
            ("Li", "Jie S."),
            ("Kazemi", "Hamid"),
            ("Huang", "Furong"),
            ("Goldblum", "Micah"),
            ("Geiping", "Jonas"),
            ("Goldstein", "Tom"),
        ),
        2023,
        booktitle=_NEURIPS,
        arxiv="2208.09392",
    ),
    Entry(
        "delbracio2023inversion",
        "article",
        "Inversion by Direct Iteration: An Alternative to Denoising Diffusion for Image Restoration",
        (("Delbracio", "Mauricio"), ("Milanfar", "Peyman")),
        2023,
        journal="Transactions on Machine Learning Research",
        arxiv="2303.11435",
    ),
    Entry(
        "wang2023ddnm",
        "inproceedings",
        "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model",
        (("Wang", "Yinhuai"), ("Yu", "Jiwen"), ("Zhang", "Jian")),
        2023,
        booktitle=_ICLR,
        arxiv="2212.00490",
    ),
    Entry(
        "dhariwal2021diffusion",
        "inproceedings",
        "Diffusion Models Beat GANs on Image Synthesis",
        (("Dhariwal", "Prafulla"), ("Nichol", "Alexander Quinn")),
        2021,
        booktitle=_NEURIPS,
        volume="34",
        pages="8780-8794",
        arxiv="2105.05233",
    ),
    Entry(
        "ho2022classifier",
        "misc",
        "Classifier-Free Diffusion Guidance",
        (("Ho", "Jonathan"), ("Salimans", "Tim")),
        2022,
        arxiv="2207.12598",
    ),
    Entry(
        "wang2021realesrgan",
        "inproceedings",
        "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data",
        (("Wang", "Xintao"), ("Xie", "Liangbin"), ("Dong", "Chao"), ("Shan", "Ying")),
        2021,
        booktitle="IEEE/CVF International Conference on Computer Vision Workshops (ICCVW)",
        arxiv="2107.10833",
    ),
    Entry(
        "wang2024stablesr",
        "article",
        "Exploiting Diffusion Prior for Real-World Image Super-Resolution",
        (
            ("Wang", "Jianyi"),
            ("Yue", "Zongsheng"),
            ("Zhou", "Shangchen"),
            ("Chan", "Kelvin C. K."),
            ("Loy", "Chen Change"),
        ),
        2024,
        journal="International Journal of Computer Vision",
        volume="132",
        arxiv="2305.07015",
        doi="10.1007/s11263-024-02168-7",
    ),
    Entry(
        "salmon2011parallel",
        "inproceedings",
        "Parallel Random Numbers: As Easy as 1, 2, 3",
        (("Salmon", "John K."), ("Moraes", "Mark A."), ("Dror", "Ron O."), ("Shaw", "David E.")),
        2011,
        booktitle="Proceedings of 2011 International Conference for High Performance Computing, Networking, Storage "
        "and Analysis",
        pages="1-12",
        doi="10.1145/2063384.2063405",
    ),
    Entry(
        "box1958note",
        "article",
        "A Note on the Generation of Random Normal Deviates",
        (("Box", "G. E. P."), ("Muller", "Mervin E.")),
        1958,
        journal="The Annals of Mathematical Statistics",
        volume="29",
        number="2",
        pages="610-611",
        doi="10.1214/aoms/1177706645",
    ),
    Entry(
        "wang2004ssim",
        "article",
        "Image Quality Assessment: From Error Visibility to Structural Similarity",
        (("Wang", "Zhou"), ("Bovik", "Alan C."), ("Sheikh", "Hamid R."), ("Simoncelli", "Eero P.")),
        2004,
        journal="IEEE Transactions on Image Processing",
        volume="13",
        number="4",
        pages="600-612",
        doi="10.1109/TIP.2003.819861",
    ),
    Entry(
        "zhang2018lpips",
        "inproceedings",
        "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
        (
            ("Zhang", "Richard"),
            ("Isola", "Phillip"),
            ("Efros", "Alexei A."),
            ("Shechtman", "Eli"),
            ("Wang", "Oliver"),
        ),
        2018,
        booktitle="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition",
        pages="586-595",
        arxiv="1801.03924",
    ),
    Entry(
        "wang2003multiscale",
        "inproceedings",
        "Multiscale Structural Similarity for Image Quality Assessment",
        (("Wang", "Zhou"), ("Simoncelli", "Eero P."), ("Bovik", "Alan C.")),
        2003,
        booktitle="The Thirty-Seventh Asilomar Conference on Signals, Systems and Computers",
        volume="2",
        pages="1398-1402",
        doi="10.1109/ACSSC.2003.1292216",
    ),
    Entry(
        "mittal2013making",
        "article",
        "Making a “Completely Blind” Image Quality Analyzer",
        (("Mittal", "Anish"), ("Soundararajan", "Rajiv"), ("Bovik", "Alan C.")),
        2013,
        journal="IEEE Signal Processing Letters",
        volume="20",
        number="3",
        pages="209-212",
        doi="10.1109/LSP.2012.2227726",
    ),
    Entry(
        "ding2022unifying",
        "article",
        "Image Quality Assessment: Unifying Structure and Texture Similarity",
        (("Ding", "Keyan"), ("Ma", "Kede"), ("Wang", "Shiqi"), ("Simoncelli", "Eero P.")),
        2022,
        journal=_TPAMI,
        volume="44",
        number="5",
        pages="2567-2581",
        arxiv="2004.07728",
        doi="10.1109/TPAMI.2020.3045810",
    ),
    Entry(
        "heusel2017gans",
        "inproceedings",
        "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
        (
            ("Heusel", "Martin"),
            ("Ramsauer", "Hubert"),
            ("Unterthiner", "Thomas"),
            ("Nessler", "Bernhard"),
            ("Hochreiter", "Sepp"),
        ),
        2017,
        booktitle=_NEURIPS,
        volume="30",
        arxiv="1706.08500",
    ),
    Entry(
        "binkowski2018demystifying",
        "inproceedings",
        "Demystifying MMD GANs",
        (("Bińkowski", "Mikołaj"), ("Sutherland", "Danica J."), ("Arbel", "Michael"), ("Gretton", "Arthur")),
        2018,
        booktitle=_ICLR,
        arxiv="1801.01401",
    ),
    Entry(
        "lugmayr2021ntire",
        "inproceedings",
        "NTIRE 2021 Learning the Super-Resolution Space Challenge",
        (("Lugmayr", "Andreas"), ("Danelljan", "Martin"), ("Timofte", "Radu")),
        2021,
        booktitle=_CVPR_WORKSHOPS,
        pages="596-612",
    ),
    Entry(
        "lugmayr2022repaint",
        "inproceedings",
        "RePaint: Inpainting using Denoising Diffusion Probabilistic Models",
        (
            ("Lugmayr", "Andreas"),
            ("Danelljan", "Martin"),
            ("Romero", "Andres"),
            ("Yu", "Fisher"),
            ("Timofte", "Radu"),
            ("Van Gool", "Luc"),
        ),
        2022,
        booktitle=_CVPR,
        pages="11461-11471",
        arxiv="2201.09865",
    ),
    Entry(
        "choi2021ilvr",
        "inproceedings",
        "ILVR: Conditioning Method for Denoising Diffusion Probabilistic Models",
        (
            ("Choi", "Jooyoung"),
            ("Kim", "Sungwon"),
            ("Jeong", "Yonghyun"),
            ("Gwon", "Youngjune"),
            ("Yoon", "Sungroh"),
        ),
        2021,
        booktitle="Proceedings of the IEEE/CVF International Conference on Computer Vision",
        pages="14367-14376",
        arxiv="2108.02938",
    ),
    Entry(
        "chung2022come",
        "inproceedings",
        "Come-Closer-Diffuse-Faster: Accelerating Conditional Diffusion Models for Inverse Problems through Stochastic "
        "Contraction",
        (("Chung", "Hyungjin"), ("Sim", "Byeongsu"), ("Ye", "Jong Chul")),
        2022,
        booktitle=_CVPR,
        pages="12413-12422",
        arxiv="2112.05146",
    ),
    Entry(
        "kawar2021snips",
        "inproceedings",
        "SNIPS: Solving Noisy Inverse Problems Stochastically",
        (("Kawar", "Bahjat"), ("Vaksman", "Gregory"), ("Elad", "Michael")),
        2021,
        booktitle=_NEURIPS,
        volume="34",
        arxiv="2105.14951",
    ),
    Entry(
        "kawar2022ddrm",
        "inproceedings",
        "Denoising Diffusion Restoration Models",
        (("Kawar", "Bahjat"), ("Elad", "Michael"), ("Ermon", "Stefano"), ("Song", "Jiaming")),
        2022,
        booktitle=_NEURIPS,
        volume="35",
        arxiv="2201.11793",
    ),
    Entry(
        "chung2023dps",
        "inproceedings",
        "Diffusion Posterior Sampling for General Noisy Inverse Problems",
        (
            ("Chung", "Hyungjin"),
            ("Kim", "Jeongsol"),
            ("McCann", "Michael Thompson"),
            ("Klasky", "Marc Louis"),
            ("Ye", "Jong Chul"),
        ),
        2023,
        booktitle=_ICLR,
        arxiv="2209.14687",
    ),
    Entry(
        "fei2023gdp",
        "inproceedings",
        "Generative Diffusion Prior for Unified Image Restoration and Enhancement",
        (
            ("Fei", "Ben"),
            ("Lyu", "Zhaoyang"),
            ("Pan", "Liang"),
            ("Zhang", "Junzhe"),
            ("Yang", "Weidong"),
            ("Luo", "Tianyue"),
            ("Zhang", "Bo"),
            ("Dai", "Bo"),
        ),
        2023,
        booktitle=_CVPR,
        pages="9935-9946",
        arxiv="2304.01247",
    ),
    Entry(
        "chung2022mcg",
        "inproceedings",
        "Improving Diffusion Models for Inverse Problems using Manifold Constraints",
        (("Chung", "Hyungjin"), ("Sim", "Byeongsu"), ("Ryu", "Dohoon"), ("Ye", "Jong Chul")),
        2022,
        booktitle=_NEURIPS,
        volume="35",
        arxiv="2206.00941",
    ),
    Entry(
        "song2023pigdm",
        "inproceedings",
        "Pseudoinverse-Guided Diffusion Models for Inverse Problems",
        (("Song", "Jiaming"), ("Vahdat", "Arash"), ("Mardani", "Morteza"), ("Kautz", "Jan")),
        2023,
        booktitle=_ICLR,
        url="https://openreview.net/forum?id=9_gsMA8MRKQ",
    ),
    Entry(
        "zhu2023diffpir",
        "inproceedings",
        "Denoising Diffusion Models for Plug-and-Play Image Restoration",
        (
            ("Zhu", "Yuanzhi"),
            ("Zhang", "Kai"),
            ("Liang", "Jingyun"),
            ("Cao", "Jiezhang"),
            ("Wen", "Bihan"),
            ("Timofte", "Radu"),
            ("Van Gool", "Luc"),
        ),
        2023,
        booktitle=_CVPR_WORKSHOPS,
        pages="1219-1229",
        arxiv="2305.08995",
    ),
    Entry(
        "mardani2024reddiff",
        "inproceedings",
        "A Variational Perspective on Solving Inverse Problems with Diffusion Models",
        (("Mardani", "Morteza"), ("Song", "Jiaming"), ("Kautz", "Jan"), ("Vahdat", "Arash")),
        2024,
        booktitle=_ICLR,
        arxiv="2305.04391",
    ),
    Entry(
        "zhang2025daps",
        "inproceedings",
        "Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing",
        (
            ("Zhang", "Bingliang"),
            ("Chu", "Wenda"),
            ("Berner", "Julius"),
            ("Meng", "Chenlin"),
            ("Anandkumar", "Anima"),
            ("Song", "Yang"),
        ),
        2025,
        booktitle=_CVPR,
        arxiv="2407.01521",
    ),
)

ENTRIES: Mapping[str, Entry] = {entry.key: entry for entry in _ENTRIES}
"""Every work that may be cited, by its key."""

SURVEY = "moser2025survey"

OURS = "ours"
"""Stands for a part that no paper introduced: our own, or too plain to have one."""

_SOLVERS: Mapping[str, tuple[str, ...]] = {
    "repaint": ("lugmayr2022repaint",),
    "ilvr": ("choi2021ilvr",),
    "ccdf": ("chung2022come",),
    "snips": ("kawar2021snips",),
    "ddrm": ("kawar2022ddrm",),
    "ddnm": ("wang2023ddnm",),
    "dps": ("chung2023dps",),
    "gdp": ("fei2023gdp",),
    "mcg": ("chung2022mcg",),
    "pigdm": ("song2023pigdm",),
    "diffpir": ("zhu2023diffpir",),
    "red-diff": ("mardani2024reddiff",),
    "daps": ("zhang2025daps",),
    "spectral": (OURS,),
}

METHODS: Mapping[str, tuple[str, ...]] = {
    "nearest": (OURS,),
    "bicubic": ("keys1981cubic",),
    "lanczos": ("duchon1979lanczos",),
    # It starts from the bicubic picture and projects the error back with the same kernel.
    "back-projection": ("irani1991improving", "keys1981cubic"),
    "span": ("wan2023span",),
    "sr3": ("saharia2023sr3",),
    "ddpm-sr": ("ho2020denoising",),
    "classifier-sr": ("dhariwal2021diffusion",),
    "ncsn-sr": ("song2019generative", "song2020improved"),
    "sde-sr": ("song2021score",),
    "srdiff": ("li2022srdiff",),
    "diwa": ("moser2024waving",),
    "resshift": ("yue2023resshift",),
    "cold-diffusion": ("bansal2023cold",),
    "i2sb": ("liu2023i2sb",),
    "indi": ("delbracio2023inversion",),
    "shared": ("karras2022elucidating",),
    **_SOLVERS,
    "prior": ("karras2022elucidating",),
    "mezzotint-x4": ("whang2022deblurring", "moser2024waving"),
    "mezzotint-x2": ("whang2022deblurring", "moser2024waving"),
    "mezzotint-x4-real": ("whang2022deblurring", "moser2024waving"),
}
"""The papers of each method; `tests` hold that every name of the table is here."""

AXES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("bridge", "vp"): ("ho2020denoising", "song2021score"),
    ("bridge", "resshift"): ("yue2023resshift",),
    ("bridge", "i2sb"): ("liu2023i2sb",),
    ("bridge", "ve"): ("song2019generative", "song2021score"),
    ("bridge", "cold-diffusion"): ("bansal2023cold",),
    ("bridge", "indi"): ("delbracio2023inversion",),
    ("domain", "pixel"): (OURS,),
    ("domain", "residual"): ("li2022srdiff",),
    ("domain", "wavelet"): ("moser2024waving",),
    ("domain", "subband"): ("moser2024waving",),
    ("conditioning", "low-resolution"): ("saharia2023sr3",),
    ("conditioning", "rrdb"): ("li2022srdiff",),
    ("conditioning", "lifted"): ("moser2024waving",),
    ("conditioning", "features"): (OURS,),
    ("guidance", "classifier"): ("dhariwal2021diffusion",),
    ("guidance", "classifier-free"): ("ho2022classifier",),
    # The score of a measurement beside that of the prior, section 5 of the paper.
    ("guidance", "gradient"): ("song2021score",),
    ("colour", "mean-std"): ("wang2024stablesr",),
    ("colour", "wavelet"): ("wang2024stablesr",),
    ("network", "unet"): ("ronneberger2015unet", "ho2020denoising"),
    ("network", "span"): ("wan2023span",),
    ("network", "refiner"): (OURS,),
    ("network", "local-unet"): (OURS,),
    ("sampler", "ancestral"): ("ho2020denoising",),
    ("sampler", "ddim"): ("song2021denoising",),
    ("sampler", "reverse-diffusion"): ("song2021score",),
    ("sampler", "annealed-langevin"): ("song2019generative",),
    ("sampler", "indi"): ("delbracio2023inversion",),
    ("sampler", "cold2"): ("bansal2023cold",),
    ("sampler", "ddrm"): ("kawar2022ddrm",),
    **{("corrector", name): papers for name, papers in _SOLVERS.items()},
}
"""The papers of each value of an axis, by (axis, value)."""

MEASURES: Mapping[str, tuple[str, ...]] = {
    "psnr": (OURS,),
    "ssim": ("wang2004ssim",),
    "lpips": ("zhang2018lpips",),
    "lpips_vgg": ("zhang2018lpips",),
    "lr_psnr": ("lugmayr2021ntire",),
    "lr_psnr_float": ("lugmayr2021ntire",),
    "consistency": ("saharia2023sr3",),
    "ms_ssim": ("wang2003multiscale",),
    "dists": ("ding2022unifying",),
    "niqe": ("mittal2013making",),
    "colour_shift": (OURS,),
    "fid": ("heusel2017gans",),
    "kid": ("binkowski2018demystifying",),
    # The distance of FID between the features of LPIPS.
    "frechet_alex": ("heusel2017gans", "zhang2018lpips"),
    "lpips_diversity": ("zhang2018lpips",),
    "diversity_score": ("lugmayr2021ntire",),
}
"""The papers of each measure of quality."""

# The predictor of a method of ours, and what the small pictures that it was trained on were made by.
_OWN: Mapping[str, tuple[tuple[str, str], ...]] = {
    "mezzotint-x4": (("predictor edsr", "lim2017enhanced"),),
    "mezzotint-x2": (("predictor edsr", "lim2017enhanced"),),
    "mezzotint-x4-real": (
        ("predictor edsr", "lim2017enhanced"), ("degradations of the training", "wang2021realesrgan")
    ),
}
_OWN_CHOICES = (
    ("prediction v", "salimans2022progressive"),
    ("learned variance", "nichol2021improved"),
    ("schedule shifted-cosine", "hoogeboom2023simple"),
)
# Choices of a method that are no axis of the table, by their name and what they are.
_CHOICES: Mapping[str, tuple[tuple[str, str], ...]] = {
    **{name: (*own, *_OWN_CHOICES) for name, own in _OWN.items()},
    # Every solver runs on the prior of this package.
    **{name: (("prior", "karras2022elucidating"),) for name in _SOLVERS},
}
# The strength at which a kind of guidance does nothing; None where it has no strength.
_UNGUIDED = {"classifier-free": 1.0, "classifier": 0.0, "gradient": None}
_NOISE = (("noise Philox", "salmon2011parallel"), ("noise Box-Muller", "box1958note"))
_OPERATORS = (("bicubic", "keys1981cubic"), ("lanczos", "duchon1979lanczos"))
_CONSISTENT = (("consistency range-space", "wang2023ddnm"), ("consistency MATLAB bicubic", "keys1981cubic"))


def of_method(name: str) -> tuple[Citation, ...]:
    """Return what to cite for a method of the table, with the whole of its parts, the survey and this software.

    Raises UsageError for an unknown name.
    """
    return _collected(_parts(find(name), realism=None, guidance=None), version=__version__)


def of_records(records: Sequence[Record]) -> tuple[Citation, ...]:
    """Return what to cite for results: exactly the parts that their requests used.

    Raises InputError for a method that this version does not know.
    """
    used: list[tuple[str, str]] = []
    for record in records:
        request = record.request
        card = _known(record.recipe or request.method)
        used += _parts(card, realism=request.realism, guidance=request.guidance)
        # A solver corrects by the operator that it was told.
        used += (_CONSISTENT[:1] if request.operator else _CONSISTENT) if request.consistent else ()
        used += _coloured(request.colour)
        used += [(f"operator {part}", key) for part, key in _OPERATORS if request.operator == part]
        used += [("size MATLAB bicubic", "keys1981cubic")] * any(
            step.startswith("bicubic to ") for step in request.chain
        )
    versions = sorted({record.request.version for record in records})
    return _collected(used, version=", ".join(versions))


def of_evaluation(evaluation: Mapping[str, Any]) -> tuple[Citation, ...]:
    """Return what to cite for figures, as `mezzotint evaluate --json` writes them: methods and measures.

    Raises InputError for a method or measure that this version does not know, and for another table.
    """
    used: list[tuple[str, str]] = []
    methods = evaluation.get("methods")
    if not isinstance(methods, Mapping) or not methods:
        raise InputError("this is no evaluation of mezzotint: it has no table of methods")
    for label, figures in methods.items():
        settings, mean = (
            (figures.get(key) or {}) if isinstance(figures, Mapping) else {} for key in ("settings", "mean")
        )
        if not isinstance(settings, Mapping) or not isinstance(mean, Mapping):
            raise InputError(f"this is no evaluation of mezzotint: the figures of {label} are no tables")
        # A label is the name and the settings that were gone through: "mezzotint-x4 realism 0.5".
        card = _known(str(label).partition(" ")[0])
        guidance = settings.get("guidance")
        used += _parts(card, realism=settings.get("realism"), guidance=1.0 if guidance is None else guidance)
        used += _CONSISTENT if settings.get("consistent") is True else ()
        used += _coloured(str(settings.get("colour", "none")))
        used += [(f"measure {name}", key) for name in mean for key in MEASURES.get(name, ())]
    return _collected(used, version=__version__)


def as_bibtex(citations: Iterable[Citation]) -> str:
    """Return BibTeX entries, ASCII throughout, titles in their own capitals."""
    return "\n\n".join(_bibtex(citation.entry) for citation in citations)


def as_rows(citations: Iterable[Citation]) -> list[dict[str, Any]]:
    """Return the fields of each entry that have a value, and the parts that it stands for, as JSON holds them."""
    rows = []
    for citation in citations:
        row: dict[str, Any] = {}
        for field in fields(Entry):
            value = getattr(citation.entry, field.name)
            if value not in ("", None):
                row[field.name] = value
        row["authors"] = [f"{given} {family}".strip() for family, given in citation.entry.authors]
        rows.append({**row, "parts": list(citation.parts)})
    return rows


def _known(name: str) -> MethodCard:
    try:
        return find(name.partition("@")[0])
    except UsageError:
        names = ", ".join(card.name for card in cards())
        raise InputError(
            f"the method {name!r} is none of this version's ({names}), so its parts are not known: "
            "name the method that it is, for example mezzotint cite sr3"
        ) from None


def _parts(card: MethodCard, *, realism: float | None, guidance: float | None) -> list[tuple[str, str]]:
    """Return (part, key of its paper) for all that a method uses at a realism and a strength of guidance, None for the
    whole of it."""
    if realism == 0 and card.name in _OWN:  # nothing is refined
        return list(_OWN[card.name])
    used = [(f"method {card.name}", key) for key in METHODS[card.name]]
    for field in fields(card.axes):
        value = _guide(card, guidance) if field.name == "guidance" else getattr(card.axes, field.name)
        if value != "none":
            used += [(f"{field.name} {value}", key) for key in AXES[field.name, value]]
    used += _CHOICES.get(card.name, ())
    used += () if card.deterministic else _NOISE
    return [(part, key) for part, key in used if key != OURS]


def _coloured(colour: str) -> list[tuple[str, str]]:
    return [(f"colour {colour}", key) for key in AXES.get(("colour", colour), ())]


def _guide(card: MethodCard, guidance: float | None) -> str:
    """The kind of guidance at a strength; a recipe whose preset has none may have been trained for it."""
    kind = card.axes.guidance
    if guidance is None:
        return kind
    return "none" if guidance == _UNGUIDED.get(kind, 1.0) else kind if kind != "none" else "classifier-free"


def _collected(used: Iterable[tuple[str, str]], *, version: str) -> tuple[Citation, ...]:
    """Return one citation a work in order of first use, after the survey and the software."""
    parts: dict[str, list[str]] = {SURVEY: ["survey"]}
    for part, key in used:
        if key != OURS and part not in parts.setdefault(key, []):
            parts[key].append(part)
    works = [Citation(ENTRIES[key], tuple(names)) for key, names in parts.items()]
    return (works[0], Citation(_software(version), ("software",)), *works[1:])


def _software(version: str) -> Entry:
    title = "Mezzotint: image super-resolution with diffusion models"
    return Entry("mezzotint", "misc", title, (("The Mezzotint developers", ""),), version=version)


def _bibtex(entry: Entry) -> str:
    lines = [f"  author = {{{' and '.join(_author(*author) for author in entry.authors)}}}"]
    # The inner braces keep a style from setting names and abbreviations in small letters.
    lines.append(f"  title = {{{{{_escaped(entry.title)}}}}}")
    for name in ("journal", "booktitle", "volume", "number", "publisher"):
        value = getattr(entry, name)
        if value:
            lines.append(f"  {name} = {{{_escaped(value)}}}")
    if entry.pages:
        lines.append(f"  pages = {{{entry.pages.replace('-', '--')}}}")
    if entry.year is not None:
        lines.append(f"  year = {{{entry.year}}}")
    if entry.version:
        # Old styles know no version, but print a note.
        lines += [f"  version = {{{_escaped(entry.version)}}}", f"  note = {{Version {_escaped(entry.version)}}}"]
    if entry.arxiv:
        lines += [f"  eprint = {{{entry.arxiv}}}", "  eprinttype = {arXiv}", "  archiveprefix = {arXiv}"]
    if entry.doi:
        # Taken as it stands by all that make a link of it.
        lines.append(f"  doi = {{{entry.doi}}}")
    if entry.url:
        lines.append(f"  url = {{{entry.url}}}")
    return f"@{entry.kind}{{{entry.key},\n" + ",\n".join(lines) + "\n}"


def _author(family: str, given: str) -> str:
    return f"{_escaped(family)}, {_escaped(given)}" if given else f"{{{_escaped(family)}}}"


_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "ß": r"{\ss}",
    "ø": r"{\o}", "Ø": r"{\O}", "ł": r"{\l}", "Ł": r"{\L}", "æ": r"{\ae}", "Æ": r"{\AE}", "ı": r"{\i}", "–": "--",
    "—": "---", "’": "'", "“": "``", "”": "''",
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c", "\u0328": "k",
}  # fmt: skip


def _escaped(text: str) -> str:
    """Return the text as TeX sets it: ASCII, every brace in a pair, as BibTeX counts them.

    Raises ValueError for a letter that is not known here.
    """
    return "".join(_escaped_letter(letter) for letter in unicodedata.normalize("NFC", text))


def _escaped_letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter.isascii():
        return letter
    base, *marks = unicodedata.normalize("NFD", letter)
    if len(marks) != 1 or marks[0] not in _ACCENTS or not base.isascii():
        raise ValueError(f"{letter!r} has no spelling in TeX here")
    return f"{{\\{_ACCENTS[marks[0]]}{{{base}}}}}"
