from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from mezzotint import __version__, weights
from mezzotint.errors import InputError, UsageError
from mezzotint.methods import citations, table
from mezzotint.methods.citations import AXES, ENTRIES, MEASURES, METHODS, OURS, Citation, Entry
from mezzotint.quality import evaluation
from mezzotint.record import Record, Request


def parse(text: str) -> dict[str, dict[str, str]]:
    """Read BibTeX strictly: entries of `name = {balanced}` fields, and nothing between entries but white space."""
    found: dict[str, dict[str, str]] = {}
    at = 0

    def expect(pattern: str) -> str:
        nonlocal at
        match = re.compile(pattern).match(text, at)
        assert match is not None, f"{pattern} expected at {text[at : at + 40]!r}"
        at = match.end()
        return match[1] if match.groups() else match[0]

    def balanced() -> str:
        nonlocal at
        expect(r"\{")
        start, depth = at, 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        return text[start : at - 1]

    while text[at:].strip():
        kind = expect(r"\s*@([a-z]+)\{")
        key = expect(r"([a-z0-9]+),\s*")
        assert key not in found
        entry = {"type": kind}
        while True:
            name = expect(r"([a-z]+) = ")
            assert name not in entry
            entry[name] = balanced()
            if expect(r"(,\s*|\s*\}\n?)").strip() == "}":
                break
        found[key] = entry
    return found


def _keys(found: tuple[Citation, ...]) -> set[str]:
    return {citation.entry.key for citation in found}


def _record(**changes) -> Record:
    values = dict(
        version="0.1.0", method="mezzotint-x4", weights="", picture="0" * 16, input_size=(2, 3), channels=3,
        output_size=(8, 12), chain=("mezzotint-x4",), seed=0, steps=4, realism=0.78,
    )  # fmt: skip
    recipe = changes.pop("recipe", "")
    return Record(request=Request(**{**values, **changes}), libraries={}, recipe=recipe)


def test_every_method_axis_and_measure_has_a_paper_or_is_ours() -> None:
    assert set(METHODS) == {card.name for card in table.cards()}
    used = {
        (field.name, getattr(card.axes, field.name)) for card in table.cards() for field in fields(card.axes)
    }  # fmt: skip
    assert {pair for pair in used if pair[1] != "none"} <= set(AXES)
    assert {axis for axis, _ in AXES} <= {field.name for field in fields(table.Axes)}
    assert set(MEASURES) == {measure.name for measure in evaluation.MEASURES}


def test_every_key_leads_to_an_entry_and_every_entry_is_used() -> None:
    named = {key for papers in (METHODS, AXES, MEASURES) for keys in papers.values() for key in keys}
    for papers in (METHODS, AXES, MEASURES):
        assert all(keys == (OURS,) or OURS not in keys for keys in papers.values()) and all(papers.values())
    assert named - {OURS} <= set(ENTRIES)
    cited = set[str]()
    for card in table.cards():
        cited |= _keys(citations.of_method(card.name))
    cited |= _keys(citations.of_records([_record(consistent=True)]))
    assert set(ENTRIES) <= cited | named


def test_tables_agree_with_the_rows_of_the_methods() -> None:
    for card in table.cards():
        entries = [ENTRIES[key] for key in METHODS[card.name] if key != OURS]
        assert bool(card.paper) == bool(entries)
        for number in re.findall(r"\d{4}\.\d{5}", card.paper):
            assert number in [entry.arxiv for entry in entries]
        for entry in entries[:1]:
            assert entry.authors[0][0] in card.paper


def test_entries_are_complete_and_well_formed() -> None:
    for key, entry in ENTRIES.items():
        assert re.fullmatch(r"[a-z]+\d{4}[a-z0-9]+", key) and str(entry.year) in key
        assert entry.authors and all(family and given for family, given in entry.authors)
        assert bool(entry.journal) == (entry.kind == "article")
        assert bool(entry.booktitle) == (entry.kind == "inproceedings")
        assert re.fullmatch(r"(\d{4}\.\d{5})?", entry.arxiv)
        assert re.fullmatch(r"(10\.\d{4,}/\S+)?", entry.doi)
        assert re.fullmatch(r"(\d+-\d+)?", entry.pages)
        assert entry.arxiv or entry.doi or entry.pages or entry.url.startswith("https://")
    assert len({entry.title for entry in ENTRIES.values()}) == len(ENTRIES)


def test_bibtex_of_everything_can_be_read_back() -> None:
    everything = [Citation(entry, ()) for entry in ENTRIES.values()]
    text = citations.as_bibtex(everything)
    assert text.isascii()
    found = parse(text)
    assert list(found) == list(ENTRIES)
    for key, entry in ENTRIES.items():
        read = found[key]
        assert read["type"] == entry.kind and read["year"] == str(entry.year)
        assert read["author"].count(" and ") == len(entry.authors) - 1
        assert (read.get("doi", ""), read.get("eprint", "")) == (entry.doi, entry.arxiv)
        assert read.get("url", "") == entry.url
        assert read.get("pages", "").replace("--", "-") == entry.pages
        assert read["title"].startswith("{") and read["title"].endswith("}")
    assert r"Schr{\"{o}}dinger" in found["liu2023i2sb"]["title"]
    assert found["salmon2011parallel"]["title"] == "{Parallel Random Numbers: As Easy as 1, 2, 3}"


def test_special_letters_are_escaped() -> None:
    entry = Entry("a2000b", "misc", r"50 % of R&D_{x} costs $1 ~ #2^\ é ø ß – ç", (("Łoś", "Jan"), ("A & B", "")), 2000)
    read = parse(citations.as_bibtex([Citation(entry, ())]))["a2000b"]
    assert read["title"] == (
        r"{50 \% of R\&D\_\textbraceleft{}x\textbraceright{} costs \$1 \textasciitilde{} \#2\textasciicircum{}"
        r"\textbackslash{} {\'{e}} {\o} {\ss} -- {\c{c}}}"
    )
    assert read["author"] == r"{\L}o{\'{s}}, Jan and {A \& B}"
    with pytest.raises(ValueError, match="語"):
        citations.as_bibtex([Citation(replace(entry, title="語"), ())])


def test_a_method_is_cited_with_all_its_parts() -> None:
    found = {citation.entry.key: citation.parts for citation in citations.of_method("sr3")}
    assert found == {
        "moser2025survey": ("survey",),
        "mezzotint": ("software",),
        "saharia2023sr3": ("method sr3", "conditioning low-resolution"),
        "ho2020denoising": ("bridge vp", "network unet", "sampler ancestral"),
        "song2021score": ("bridge vp",),
        "ronneberger2015unet": ("network unet",),
        "salmon2011parallel": ("noise Philox",),
        "box1958note": ("noise Box-Muller",),
    }
    assert parse(citations.as_bibtex(citations.of_method("sr3")))["mezzotint"]["version"] == __version__


def test_deterministic_methods_cite_no_noise() -> None:
    assert _keys(citations.of_method("nearest")) == {"moser2025survey", "mezzotint"}
    assert _keys(citations.of_method("bicubic")) == {"moser2025survey", "mezzotint", "keys1981cubic"}
    assert _keys(citations.of_method("span")) == {"moser2025survey", "mezzotint", "wan2023span"}
    with pytest.raises(UsageError, match="did you mean 'sr3'"):
        citations.of_method("sr4")


def test_a_result_cites_what_its_request_used() -> None:
    always = {"moser2025survey", "mezzotint"}
    mean = citations.of_records([_record(realism=0.0)])
    assert _keys(mean) == always | {"lim2017enhanced"}
    sharp = citations.of_records([_record()])
    assert _keys(sharp) == _keys(citations.of_method("mezzotint-x4"))
    consistent = citations.of_records([_record(realism=0.0, consistent=True)])
    assert _keys(consistent) == _keys(mean) | {"wang2023ddnm", "keys1981cubic"}
    real = {"method": "mezzotint-x4-real", "chain": ("mezzotint-x4-real",)}
    own = {"lim2017enhanced", "wang2021realesrgan"}
    assert _keys(citations.of_records([_record(**real)])) == _keys(sharp) | own
    assert _keys(citations.of_records([_record(realism=0.0, **real)])) == always | own
    resized = citations.of_records([_record(realism=0.0, chain=("mezzotint-x4", "bicubic to 8x12"))])
    assert _keys(resized) == _keys(mean) | {"keys1981cubic"}
    assert "zhang2018lpips" not in _keys(sharp) and "song2021denoising" not in _keys(sharp)


@pytest.mark.parametrize("name", ["mezzotint-x4", "mezzotint-x2", "mezzotint-x4-real"])
def test_the_predictor_that_is_cited_is_that_of_the_shipped_weights(name: str) -> None:
    (card,) = (entry.card for entry in weights.shipped() if entry.card is not None and entry.card.method == name)
    parts = [part for citation in citations.of_method(name) for part in citation.parts]
    assert [part for part in parts if part.startswith("predictor ")] == [f"predictor {card.config['predictor']}"]


def test_guidance_and_colour_are_cited_where_they_were_used() -> None:
    def keys(method: str, **changes: object) -> set[str]:
        return _keys(citations.of_records([_record(method=method, realism=None, **changes)]))

    plain = keys("ddpm-sr", guidance=1.0)
    assert keys("ddpm-sr", guidance=2.0) == plain | {"ho2022classifier"} == _keys(citations.of_method("ddpm-sr"))
    assert keys("sr3", guidance=0.0) == keys("sr3") | {"ho2022classifier"}
    assert "dhariwal2021diffusion" in keys("classifier-sr")
    assert keys("bicubic", colour="wavelet") == keys("bicubic") | {"wang2024stablesr"}
    parts = {c.entry.key: c.parts for c in citations.of_records([_record(method="classifier-sr", realism=None)])}
    assert parts["dhariwal2021diffusion"] == ("method classifier-sr", "guidance classifier")
    unguided = citations.of_records([_record(method="classifier-sr", realism=None, guidance=0.0)])
    assert {c.entry.key: c.parts for c in unguided}["dhariwal2021diffusion"] == ("method classifier-sr",)
    figures = {"settings": {"guidance": 2.0, "colour": "mean-std"}, "mean": {"psnr": 1.0}}
    of_figures = citations.of_evaluation({"methods": {"sr3 guidance 2": figures, "bicubic": {"settings": {}}}})
    assert {"ho2022classifier", "wang2024stablesr"} <= _keys(of_figures)


def test_a_solver_is_cited_with_its_prior_and_its_gradient() -> None:
    found = {citation.entry.key: citation.parts for citation in citations.of_method("pigdm")}
    assert found["song2023pigdm"] == ("method pigdm", "corrector pigdm")
    assert "guidance gradient" in found["song2021score"] and found["karras2022elucidating"] == ("prior",)
    assert _keys(citations.of_records([_record(method="ddnm", recipe="ddnm", realism=None)])) == _keys(
        citations.of_method("ddnm")
    )
    told = citations.of_records([_record(method="ddnm@released", realism=None, operator="bicubic", noise=5.0)])
    assert {c.entry.key: c.parts for c in told}["keys1981cubic"] == ("operator bicubic",)
    fitted = citations.of_records([_record(method="dps", realism=None, operator="average", consistent=True)])
    assert "wang2023ddnm" in _keys(fitted) and "keys1981cubic" not in _keys(fitted)
    # A record holds guidance 1 for every method, which is no strength of this one.
    of_record = citations.of_records([_record(method="dps", realism=None)])
    assert _keys(of_record) == _keys(citations.of_method("dps"))


def test_several_results_are_cited_once_with_every_version() -> None:
    records = [_record(realism=0.0), _record(method="bicubic", realism=None, steps=None, version="0.0.9")]
    found = citations.of_records(records)
    assert _keys(found) == {"moser2025survey", "mezzotint", "lim2017enhanced", "keys1981cubic"}
    assert found[1].entry.version == "0.0.9, 0.1.0"


def test_a_result_of_named_weights_is_cited_by_its_recipe() -> None:
    found = citations.of_records([_record(method="my-faces", recipe="sr3", realism=None)])
    assert _keys(found) == _keys(citations.of_method("sr3"))
    with pytest.raises(InputError, match="'my-faces' is none of this version's"):
        citations.of_records([_record(method="my-faces")])


def test_figures_cite_methods_and_measures() -> None:
    figures = {
        "protocol": "y-modern",
        "methods": {
            "bicubic": {"settings": {"scale": 4.0}, "mean": {"psnr": 26.0, "ssim": 0.7, "nfe": 0}},
            "mezzotint-x4 realism 0": {
                "settings": {"steps": 4, "realism": 0.0, "consistent": True, "weights": ""},
                "mean": {"psnr": 27.0, "lpips_vgg": 0.3, "lr_psnr": 50.0},
            },
        },
    }
    found = {citation.entry.key: citation.parts for citation in citations.of_evaluation(figures)}
    assert found["wang2004ssim"] == ("measure ssim",) and found["lugmayr2021ntire"] == ("measure lr_psnr",)
    assert found["keys1981cubic"] == ("method bicubic", "consistency MATLAB bicubic")
    assert "lim2017enhanced" in found and "wang2023ddnm" in found and "zhang2018lpips" in found
    assert "ho2020denoising" not in found and "salmon2011parallel" not in found
    for wrong in ({}, {"methods": {}}, {"methods": []}, {"methods": {"bicubic": {"mean": [1]}}}):
        with pytest.raises(InputError, match="no evaluation"):
            citations.of_evaluation(wrong)


def test_rows_are_json_without_empty_fields() -> None:
    rows = json.loads(json.dumps(citations.as_rows(citations.of_method("bicubic"))))
    assert [row["key"] for row in rows] == ["moser2025survey", "mezzotint", "keys1981cubic"]
    assert rows[2]["authors"] == ["Robert G. Keys"] and rows[2]["parts"] == ["method bicubic"]
    assert "arxiv" not in rows[2] and "year" not in rows[1] and rows[1]["authors"] == ["The Mezzotint developers"]


def test_importing_citations_is_light() -> None:
    code = "import sys, mezzotint.methods.citations; print([m for m in ('torch', 'pydantic') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
