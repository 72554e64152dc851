"""What leaves the ledger: no spreadsheet runs it, and no digit is lost."""

import csv
import io
import re
import sys
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.exchange.export import COLUMNS, safe_cell, unsafe, write_csv, write_parquet
from botobs.errors import BotobsError

D = Decimal
LINE = {"seq": 1, "type": "fill", "ts": "2026-01-02T03:04:05.000001Z", "symbol": "BTC/USDT", "side": "buy", "size": "0.10",
        "price": "3", "fee": "-1.5", "quote_delta": "-0.3", "more": {"note": "=x"}, "hash": "00"}  # fmt: skip


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "\ufeff=1", "\0=1", "＝1", "-", "=", '"=1', "'=1", "\u200b=1", "-1.5;=2", "|x", "%0A=1", "-2+3+cmd|' /C calc'!A0"])  # fmt: skip
def test_text_that_a_spreadsheet_might_run(text):
    assert safe_cell(text) == f"'{text}"
    assert unsafe(safe_cell(text)) == text


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("-1.5", "-1.5"), (D("-1.50"), "-1.50"), (D("1E-9"), "0.000000001"), (-3, "-3"), (0.1, "0.1"), ("-1e-7", "-1e-7"), (None, ""),
        (True, "true"), ("BTC/USDT", "BTC/USDT"), ("", ""), ({"a": "=1"}, '{"a":"=1"}'), ("O'Neil", "O'Neil"), (float("nan"), "null"),
        (D("NaN"), "null"),
    ],
)  # fmt: skip
def test_what_is_harmless_stays(value, cell):
    assert safe_cell(value) == cell


@given(st.text() | st.text("=+-@\t\r\n'\" 1.x\0\ufeff", max_size=6))
def test_no_cell_is_a_formula_and_all_come_back(text):
    text = text.encode("utf-8", "replace").decode()
    cell = safe_cell(text)
    assert (
        re.match(r"[^\w'({\[]*[=+\-@]", cell) is None
        or re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?", cell)
        or cell[0] == "'"
        or not cell.strip("\0\t\r\n '\"\ufeff")[:1] in "=+-@"
    )
    assert unsafe(cell) == text


def test_csv_of_lines():
    out = io.StringIO(newline="")
    assert write_csv([LINE, {**LINE, "seq": 2, "colour": "=red", "note": 1}, {"seq": 3, "type": "void"}], out) == 3
    rows = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["size"], rows[0]["fee"], rows[0]["more"]) == ("0.10", "-1.5", '{"note":"=x"}')
    assert "colour" in rows[1]["more"]
    assert rows[2]["symbol"] == ""


def test_parquet_names_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BotobsError, match=r"botobs\[parquet\]"):
        write_parquet([LINE], tmp_path / "f.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("numbers", ["text", "decimal"])
def test_parquet(numbers, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "f.parquet"
    count = write_parquet(({**LINE, "seq": n} for n in range(25_000)), path, numbers=numbers)
    assert count == 25_000
    table = pq.read_table(path)
    assert table.num_rows == 25_000
    row = table.slice(24_999).to_pylist()[0]
    assert (row["seq"], D(row["size"]), D(row["fee"]), row["ts"].microsecond) == (24_999, D("0.10"), D("-1.5"), 1)
    assert [each.name for each in tmp_path.iterdir()] == ["f.parquet"]


def test_parquet_says_what_does_not_fit(tmp_path):
    pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "f.parquet"
    path.write_bytes(b"old")
    with pytest.raises(BotobsError, match="numbers='text'"):
        write_parquet([{**LINE, "price": "1" * 30}], path, numbers="decimal")
    assert path.read_bytes() == b"old"
    assert write_parquet([{**LINE, "price": "1" * 30}], path) == 1


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(COLUMNS) | st.text(max_size=4),
        st.text(max_size=5) | st.none() | st.floats() | st.lists(st.integers()),
    )
)
def test_any_row_can_be_written(row):
    out = io.StringIO(newline="")
    assert write_csv([row], out) == 1
    assert len(list(csv.reader(io.StringIO(out.getvalue(), newline="")))) == 2
