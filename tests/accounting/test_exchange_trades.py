"""Statements of exchanges are read as they are: every dialect, every digit, and nothing is left out silently."""

import csv
import datetime as dt
import gzip
import io
import json
import os
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.entries import stamp
from botobs.accounting.exchange import Bad, ExchangeFill, parse_mapping, read_trades, write_csv
from botobs.errors import BotobsError

D = Decimal
MORE = int(os.environ.get("SOAK_FACTOR", "1"))  # `make soak` asks for more examples


def read(text, **options):
    return list(read_trades(io.StringIO(text), **options))


def one(text, **options):
    (fill,) = read(text, **options)
    assert isinstance(fill, ExchangeFill), fill
    return fill


def bad(text, **options):
    (found,) = read(text, **options)
    assert isinstance(found, Bad), found
    return found


HEAD = "ts,symbol,side,qty,price,fee,fee_asset,order_id,fill_id,role\n"
ROW = "2026-01-02T03:04:05.123456Z,BTC/USDT,buy,0.5,100.25,0.05,USDT,o1,f1,maker\n"
UNIFIED = {
    "id": "f1", "order": "o1", "timestamp": 1767323045123, "datetime": "2026-01-02T03:04:05.123Z", "symbol": "BTC/USDT",
    "type": "limit", "side": "buy", "price": 100.25, "amount": 0.5, "cost": 50.125, "takerOrMaker": "maker",
    "fee": {"cost": 0.05, "currency": "USDT", "rate": 0.001}, "info": {"price": "1"},
}  # fmt: skip


def test_the_named_columns():
    fill = one(HEAD + ROW)
    assert (fill.ts, fill.symbol, fill.side, fill.qty, fill.price) == (
        "2026-01-02T03:04:05.123456Z", "BTC/USDT", "buy", D("0.5"), D("100.25"),
    )  # fmt: skip
    assert (fill.fee, fill.fee_asset, fill.order_id, fill.fill_id, fill.role) == (
        D("0.05"),
        "USDT",
        "o1",
        "f1",
        "maker",
    )
    assert fill.line == 2


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([UNIFIED]),
        json.dumps(UNIFIED) + "\n",
        json.dumps({"trades": [UNIFIED]}),
        json.dumps({"data": [UNIFIED]}, indent=2),
        json.dumps({"retCode": 0, "result": {"list": [UNIFIED]}}),
        "\ufeff" + json.dumps([UNIFIED]),
        json.dumps([UNIFIED]) + "\n[]\n",
    ],
)
def test_unified_trades_however_wrapped(text):
    fill = one(text)
    assert (fill.fill_id, fill.order_id, fill.qty, fill.price, fill.side) == ("f1", "o1", D("0.5"), D("100.25"), "buy")
    assert (fill.fee, fill.fee_asset, fill.role) == (D("0.05"), "USDT", "maker")
    assert fill.ts == "2026-01-02T03:04:05.123000Z"


def test_json_numbers_keep_their_digits():
    fill = one('[{"id":12345678901234567890123,"timestamp":1767323045123,"symbol":"A/B","side":"sell",'
               '"price":0.1000000000000000055511151,"amount":123456789012345678901234567890.5}]')  # fmt: skip
    assert fill.price == D("0.1000000000000000055511151")
    assert fill.qty == D("123456789012345678901234567890.5")
    assert fill.fill_id == "12345678901234567890123"


def test_several_fees():
    fees = [{"cost": "1", "currency": "A"}, {"cost": 2, "currency": "A"}, {"cost": 3, "currency": "B"}, {"cost": None}]
    fill = one(json.dumps([{**UNIFIED, "fee": None, "fees": fees}]))
    assert (fill.fee, fill.fee_asset, fill.extra_fees) == (D(3), "A", ((D(3), "B"),))
    assert one(json.dumps([{**UNIFIED, "fee": {"cost": None, "currency": None}, "fees": []}])).fee is None
    digits = "1" * 40
    fees = [{"cost": digits, "currency": "A"}, {"cost": "0.1", "currency": "A"}]
    assert one(json.dumps([{**UNIFIED, "fees": fees}])).fee == D(digits + ".1")  # more than the usual 28 digits


def test_binance():
    fill = one("Date(UTC),Pair,Side,Price,Executed,Amount,Fee\n"
               '2026-01-02 03:04:05,1000SHIBUSDT,BUY,"43,250.10","0.51000SHIB",21625.05USDT,0.0005BNB\n')  # fmt: skip
    assert (fill.qty, fill.price, fill.fee, fill.fee_asset) == (D("0.5"), D("43250.10"), D("0.0005"), "BNB")
    raw = one('{"symbol":"BNBBTC","id":28457,"orderId":100234,"price":"4.00000100","qty":"12","commission":"10.1",'
              '"commissionAsset":"BNB","time":1499865549590,"isBuyer":false,"isMaker":true}')  # fmt: skip
    assert (raw.side, raw.role, raw.fill_id, raw.order_id, raw.fee) == ("sell", "maker", "28457", "100234", D("10.1"))


def test_kraken_coinbase_bybit_okx():
    kraken = one("txid,ordertxid,pair,time,type,ordertype,price,cost,fee,vol,margin,misc,ledgers\n"
                 "T,O,XXBTZUSD,2026-01-02 03:04:05.1234,sell,limit,43250.1,21625.05,34.6,0.5,0,,\n")  # fmt: skip
    assert (kraken.side, kraken.qty, kraken.fill_id, kraken.order_id) == ("sell", D("0.5"), "T", "O")
    answer = {"error": [], "result": {"trades": {"T1": {"ordertxid": "O", "pair": "XXBTZUSD", "time": 1767323045.123456,
              "type": "buy", "price": "1", "fee": "0.1", "vol": "2"}}, "count": 1}}  # fmt: skip
    assert one(json.dumps(answer)).fill_id == "T1"
    assert one(json.dumps(answer)).ts == "2026-01-02T03:04:05.123456Z"
    coinbase = one("portfolio,trade id,product,side,created at,size,size unit,price,fee,total,price/fee/total unit\n"
                   "default,1,BTC-USD,BUY,2026-01-02T03:04:05.123Z,0.5,BTC,43250.1,10,-21635,USD\n")  # fmt: skip
    assert (coinbase.qty, coinbase.fee, coinbase.fee_asset) == (D("0.5"), D(10), "USD")
    bybit = one("Spot Pairs,Order Type,Direction,Filled Value,Filled Price,Filled Quantity,Fees,Transaction ID,Order No.,"
                "Timestamp (UTC)\nICPUSDT,MARKET,SELL,49.9,9.32,5.36,0.04,22, 53,14:35 2024-11-16\n")  # fmt: skip
    assert (bybit.side, bybit.qty, bybit.ts) == ("sell", D("5.36"), "2024-11-16T14:35:00.000000Z")
    okx = {"code": "0", "data": [{"instId": "BTC-USDT", "tradeId": "1", "ordId": "2", "fillPx": "9", "fillSz": "3",
           "side": "buy", "feeCcy": "BTC", "fee": "-0.003", "ts": "1767323045123", "execType": "T"}]}  # fmt: skip
    fill = one(json.dumps(okx), fee_sign=-1)
    assert (fill.fee, fill.fee_asset, fill.role, fill.qty) == (D("0.003"), "BTC", "taker", D(3))
    assert one(json.dumps(okx)).fee == D("-0.003")


def test_our_own_export_and_ledger_lines():
    line = {"seq": 1, "type": "fill", "ts": "2026-01-02T03:04:05.000001Z", "symbol": "BTC/USDT", "side": "sell",
            "role": "taker", "size": "1", "price": "2", "fee": "-0.1", "order_id": "-1+1", "fill_id": "=f"}  # fmt: skip
    funding = {"seq": 2, "type": "funding", "ts": line["ts"], "symbol": "BTC/USDT", "amount": "1"}
    void = {"seq": 3, "type": "void", "ts": line["ts"], "symbol": "BTC/USDT", "side": "buy", "fill_id": "f"}
    out = io.StringIO()
    write_csv([line, funding, void], out)
    jsonl = "".join(json.dumps(each) + "\n" for each in (line, funding, void))
    for text in (out.getvalue(), jsonl):
        fill, other, removed = read(text)
        assert (fill.order_id, fill.fill_id, fill.qty, fill.fee) == ("-1+1", "=f", D(1), D("-0.1"))
        assert other.harmless
        assert "void" in removed.reason
        assert not removed.harmless


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0.5BTC", "0.5"), ("0.5 BTC", "0.5"), ("1,234.50", "1234.50"), ("$12", "12"), ("1'234.5", "1234.5"),
        ("1 234.5", "1234.5"), ("1\u00a0234,5", "1234.5"), ("1,234,567", "1234567"), ("1.234.567,5", "1234567.5"),
        ("0,500", "0.5"), ("12,5", "12.5"), ("1e-7", "1E-7"), ("+3", "3"), ("USD 1,234.00", "1234"), ("1.", "1"),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(cell, value):
    out = io.StringIO()
    csv.writer(out).writerow(["2026-01-02T03:04:05Z", "BTC/USDT", "buy", cell, "1", "", "", "", "", ""])
    assert one(HEAD + out.getvalue()).qty == D(value)


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ("1,234", "say decimal"), ("abc", "not a number"), ("NaN", "price"), ("inf", "price"), ("-1", "above 0"),
        ("(5)", "above 0"), ("0", "above 0"), ("", "no price"), ("--", "no price"), ("5%", "not a number"), ("1e999999", "price"),
        ("9" * 5000, "price"), ("1,23,4", "price"), ("1.2.3", "price"), ("=1+1", "not a number"), ("True", "not a number"),
    ],
)  # fmt: skip
def test_numbers_that_are_none(price, reason):
    out = io.StringIO()
    csv.writer(out).writerow(["2026-01-02T03:04:05Z", "BTC/USDT", "buy", "1", price, "", "", "", "", ""])
    assert reason in bad(HEAD + out.getvalue()).reason


def test_one_row_has_one_decimal_mark():
    def row(qty, price, **options):
        out = io.StringIO()
        csv.writer(out).writerow(["2026-01-02T03:04:05Z", "BTC/USDT", "buy", qty, price, "", "", "", "", ""])
        (found,) = read(HEAD + out.getvalue(), **options)
        return found

    assert row("0.5", "43,250").price == 43250
    assert row("0,5", "43.250,10").price == D("43250.10")
    assert row("1,234", "5", decimal=",").qty == D("1.234")
    assert row("1,234", "5", decimal=".").qty == 1234
    assert isinstance(row("0,5", "0.5"), Bad)
    assert isinstance(row("1,234", "5"), Bad)


@pytest.mark.parametrize(
    ("cell", "ts"),
    [
        ("1767323045", "2026-01-02T03:04:05.000000Z"), ("1767323045123", "2026-01-02T03:04:05.123000Z"),
        ("1767323045.123456", "2026-01-02T03:04:05.123456Z"), ("1767323045123456789", "2026-01-02T03:04:05.123456Z"),
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05.000000Z"), ("2026/1/2 3:04", "2026-01-02T03:04:00.000000Z"),
        ("20260102030405", "2026-01-02T03:04:05.000000Z"), ("2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05.000000Z"),
        ("02.01.2026 03:04:05", "2026-01-02T03:04:05.000000Z"), ("Jan 2 2026 3:04:05 PM", "2026-01-02T15:04:05.000000Z"),
        ("2 January 2026 03:04:05 UTC", "2026-01-02T03:04:05.000000Z"), ("2026-01-02", "2026-01-02T00:00:00.000000Z"),
    ],
)  # fmt: skip
def test_times(cell, ts):
    assert one(HEAD + f"{cell},BTC/USDT,buy,1,1,,,,,\n").ts == ts


@pytest.mark.parametrize(
    "cell", ["", "never", "45292.5", "03/04/2026 10:00", "2026-13-01", "1e400", "-5", "2026-01-02T25:00:00Z"]
)
def test_times_that_are_none(cell):
    assert "ts" in bad(HEAD + f"{cell},BTC/USDT,buy,1,1,,,,,\n").reason


def test_timezones():
    row = "2026-07-02 03:04:05,BTC/USDT,buy,1,1\n"
    assert one("Time,Symbol,Side,Qty,Price\n" + row, timezone="Europe/Berlin").ts.startswith("2026-07-02T01:04:05")
    assert one("Time(UTC+8),Symbol,Side,Qty,Price\n" + row).ts.startswith("2026-07-01T19:04:05")
    assert one("Date_UTC,Symbol,Side,Qty,Price\n" + row, timezone="Europe/Berlin").ts.startswith("2026-07-02T03:04:05")
    assert one("Date,Time,Symbol,Side,Qty,Price\n2026-07-02,03:04:05,BTC/USDT,buy,1,1\n").ts.startswith(
        "2026-07-02T03:04:05"
    )
    assert one("Time,Symbol,Side,Qty,Price\n03/04/2026 10:00,A/B,buy,1,1\n", day_first=True).ts.startswith(
        "2026-04-03T10"
    )
    assert one("Time,Symbol,Side,Qty,Price\n03/04/2026 10:00,A/B,buy,1,1\n", day_first=False).ts.startswith(
        "2026-03-04T10"
    )
    with pytest.raises(BotobsError, match="timezone"):
        read(HEAD + ROW, timezone="Mars/Olympus")


@pytest.mark.parametrize(
    ("said", "side"),
    [
        ("BUY", "buy"),
        ("Market Sell", "sell"),
        ("close short", "buy"),
        ("Open Short", "sell"),
        ("bid", "buy"),
        ("SOLD", "sell"),
    ],
)
def test_sides(said, side):
    assert one(HEAD + f"1767323045,BTC/USDT,{said},1,1,,,,,\n").side == side


@pytest.mark.parametrize("said", ["", "hold", "buy/sell", "1"])
def test_sides_that_are_none(said):
    assert "side" in bad(HEAD + f"1767323045,BTC/USDT,{said},1,1,,,,,\n").reason


def test_dialects():
    semicolon = HEAD.replace(",", ";") + ROW.replace(",", ";").replace("100.25", "100,25").replace(
        "0.5", "0,5"
    ).replace("0.05", "0,05")
    variants = [
        HEAD.replace(",", "\t") + ROW.replace(",", "\t"),
        semicolon,
        "sep=;\n" + semicolon,
        (HEAD + ROW).replace("\n", "\r\n"),
        "\ufeff" + HEAD + "\n\n" + ROW + ",,,\n",
        "Dear customer,\nyour trades:\n\n" + HEAD + ROW,
        ",".join(f'"{name}"' for name in HEAD.strip().split(",")) + "\n" + ROW,
        HEAD + ROW.replace("\n", ",,\n"),
        (HEAD + ROW).rstrip("\n"),
    ]
    for text in variants:
        fill = next(each for each in read(text) if isinstance(each, ExchangeFill))
        assert (fill.qty, fill.price, fill.fill_id) == (D("0.5"), D("100.25"), "f1"), text
    for packed in (
        gzip.compress((HEAD + ROW).encode()),
        (HEAD + ROW).encode("utf-16"),
        (HEAD + ROW).encode("utf-8-sig"),
    ):
        (fill,) = read_trades(io.BytesIO(packed))
        assert fill.fill_id == "f1"


def test_rows_that_are_no_fills():
    total, short, long = read(HEAD + "Total,,,0.5,,0.05,,,,\n" + ROW[:30] + "\n" + ROW.replace("100.25", "1,234.50"))
    assert total.harmless
    assert "header of 10" in short.reason
    assert not short.harmless
    assert "unquoted comma" in long.reason
    assert (total.line, short.line, long.line) == (2, 3, 4)


def test_a_quote_that_is_never_closed_swallows_nothing():
    for count in (3, 9_000):
        text = HEAD + ROW + ROW.replace("BTC/USDT", '"BTC/USDT') + ROW * count
        found = read(text)
        assert sum(isinstance(each, ExchangeFill) for each in found) == count + 1
        (wrong,) = (each for each in found if isinstance(each, Bad))
        assert (wrong.line, found[-1].line) == (3, count + 3)
    note = 'ts,symbol,side,qty,price,note\n1767323045,A/B,buy,1,1,"two\nlines"\n'
    assert one(note).qty == 1


def test_ids_that_a_spreadsheet_has_ruined():
    fill = one(HEAD + '1767323045,BTC/USDT,buy,1,1,,,"=""0042""",1.23E+17,\n')
    assert (fill.order_id, fill.fill_id) == ("0042", None)


def test_damaged_json_is_told_and_the_rest_read():
    text = json.dumps(UNIFIED) + '\n{"id": 1,\n\n"text"\n' + json.dumps(UNIFIED) + "\n" + json.dumps({"x": 1})
    kinds = [type(each).__name__ for each in read(text)]
    assert kinds == ["ExchangeFill", "Bad", "Bad", "ExchangeFill", "Bad"]
    first, cut = read(json.dumps([UNIFIED, UNIFIED])[:-30])
    assert isinstance(first, ExchangeFill)
    assert isinstance(cut, Bad)
    assert [type(each) for each in read(json.dumps([UNIFIED])[:-1])] == [ExchangeFill, Bad]
    assert isinstance(read("[" * 5000)[-1], Bad)
    assert isinstance(read('{"a":' * 50_000 + "\n" + json.dumps(UNIFIED), format="jsonl")[0], Bad)


def test_a_packed_file_that_was_cut_off():
    packed = gzip.compress((HEAD + ROW * 20_000).encode(), compresslevel=0)[:-100]
    found = list(read_trades(io.BytesIO(packed)))
    assert isinstance(found[-1], Bad)
    assert "cut off" in found[-1].reason
    assert sum(isinstance(each, ExchangeFill) for each in found) > 15_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"), (b" \n", "empty"), (b"PK\x03\x04...", "CSV"), (b"<html>", "document"), (b"a,b,c\n1,2,3\n", "--map"),
        (b'{"code":-1021,"msg":"x"}', "code, msg"), (b"hello", "no header"), (b'{"a": [}', "not JSON"),
        (b"time,side,qty,price\n1,buy,1,1\n", "symbol"), (b"\x1f\x8bgarbage", "cannot be read"), (b"PAR1", "Parquet"),
        (b"\0" * 100, "header"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_at_all(content, says, tmp_path):
    path = tmp_path / "statement.x"
    path.write_bytes(content)
    for given_ in (path, io.BytesIO(content)):
        with pytest.raises(BotobsError, match=says):
            list(read_trades(given_))


def test_what_is_no_file(tmp_path):
    for wrong in (tmp_path, tmp_path / "none", None, 5, "a\0b"):
        with pytest.raises(BotobsError):
            read_trades(wrong)
    for options in (
        {"format": "xml"},
        {"decimal": ";"},
        {"fee_sign": 2},
        {"mapping": {"price": "Nowhere"}},
        {"mapping": "prize=x"},
    ):
        with pytest.raises(BotobsError):
            read(HEAD + ROW, **options)


def test_mapping():
    text = "Zeit,Markt,Richtung,Menge,Kurs,id\n2026-01-02 03:04:05,BTC/USDT,buy,1,2,x\n"
    with pytest.raises(BotobsError, match="no column for ts, symbol, side, qty, price"):
        read(text.replace("id", "Side2"), mapping="fill_id=Zeit,order_id=Markt")
    mapping = "ts=Zeit,symbol=Markt side=Richtung, qty=Menge,price=Kurs"
    fill = one(text, mapping=mapping)
    assert (fill.qty, fill.price, fill.fill_id) == (1, 2, "x")
    told = '{"when":{"at":1767323045},"S":"BTC/USDT","side":"buy","a":1,"b":2,"price":9}'
    assert one(told, mapping={"ts": "when.at", "symbol": "S", "qty": "a", "price": "b"}, format="jsonl").price == 2
    trades = read_trades(io.StringIO(text), mapping=mapping)
    assert trades.columns["ts"] == ("Zeit",)
    trades.close()
    assert (
        one("ts,side,qty,price\n1767323045,buy,1,1\n", symbol="BTC/USDT", venue="v", account="a").symbol == "BTC/USDT"
    )


def test_parse_mapping():
    assert parse_mapping(["ts=Time,qty=Executed", "side = B/S"]) == {"ts": "Time", "qty": "Executed", "side": "B/S"}
    assert parse_mapping(None) == {}
    for wrong, says in (
        ("qyt=x", "did you mean qty"),
        ("ts", "no column"),
        ("ts=", "no column"),
        ("ts=a,ts=b", "twice"),
        ("size=x", "qty"),
    ):
        with pytest.raises(BotobsError, match=says):
            parse_mapping(wrong)


def test_a_large_statement_is_streamed(tmp_path):
    trade = json.dumps(UNIFIED)
    files = {
        "csv": HEAD + ROW * 40_000,
        "jsonl": (trade + "\n") * 10_000,
        "json": "[" + ",\n".join([trade] * 10_000) + "]",
    }
    for form, text in files.items():
        path = tmp_path / f"s.{form}"
        path.write_text(text)
        with read_trades(path) as trades:
            assert trades.format == form
            assert trades.size == path.stat().st_size == len(text)
            for _ in range(100):
                next(trades)
            assert trades.position < 600_000  # of 3 MB: no more than a few buffers
            held = [next(trades) for _ in range(3_000)]
            del held
            tracemalloc.start()
            for _ in range(1_500):
                next(trades)
            assert tracemalloc.get_traced_memory()[1] < 1_500_000
            tracemalloc.stop()
            assert 4_600 + sum(isinstance(each, ExchangeFill) for each in trades) in (10_000, 40_000)
            assert trades.position == trades.size


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp", "Cf"]), min_size=1, max_size=12
)
ids = st.none() | names.filter(lambda s: s == s.strip() and s.lower() not in ("-", "--", "—", "na", "n/a", "nan", "nil", "null", "none", "undefined"))  # fmt: skip
amounts = st.decimals(min_value=D("1e-20"), max_value=D("1e20"), allow_nan=False, places=None).filter(lambda d: d > 0)


@st.composite
def fills(draw):
    ns = draw(st.integers(10**17, 4 * 10**18))
    clean = ids.map(lambda s: s if s is None or not s[:1].isdigit() else "x" + s)
    return ExchangeFill(
        ts=stamp(ns), symbol=draw(st.sampled_from(["BTC/USDT", "ETHUSDC", "=A/B", "-X"])),
        side=draw(st.sampled_from(["buy", "sell"])), qty=draw(amounts), price=draw(amounts),
        fee=draw(st.none() | st.decimals(-100, 100, allow_nan=False)), fee_asset=draw(st.sampled_from([None, "BNB", "1INCH"])),
        order_id=draw(clean), fill_id=draw(clean), role=draw(st.sampled_from([None, "maker", "taker"])),
    )  # fmt: skip


FIELDS = ("ts", "symbol", "side", "qty", "price", "fee", "fee_asset", "order_id", "fill_id", "role")


def same(fill):
    values = {name: getattr(fill, name) for name in FIELDS}
    if values["fee"] is None:
        values["fee_asset"] = None
    return values


@settings(max_examples=60 * MORE, deadline=None)
@given(st.lists(fills(), min_size=1, max_size=5))
def test_round_trip(given_):
    rows = [{name: getattr(fill, name) for name in FIELDS} for fill in given_]
    out = io.StringIO()
    write_csv(rows, out, FIELDS)
    plain = [{name: str(v) if isinstance(v, Decimal) else v for name, v in row.items()} for row in rows]
    unified = [
        {"id": row["fill_id"], "order": row["order_id"], "datetime": row["ts"], "timestamp": None, "symbol": row["symbol"],
         "side": row["side"], "price": row["price"], "amount": row["qty"], "takerOrMaker": row["role"],
         "fee": {"cost": row["fee"], "currency": row["fee_asset"]}}
        for row in plain
    ]  # fmt: skip
    texts = [out.getvalue(), json.dumps(plain), "\n".join(map(json.dumps, plain)), json.dumps({"data": unified})]
    for text in texts:
        read_back = read(text)
        assert [same(fill) for fill in read_back] == [same(fill) for fill in given_]


hostile = st.text(max_size=30) | st.sampled_from(
    [
        "=1+1",
        "\0",
        '"',
        "'",
        "1" * 400,
        "1e99",
        "nan",
        "-",
        "\ud800",
        "９",
        "٣",
        "1_000",
        "1,2.3,4",
        "$",
        "((5))",
        "--5",
        ";;",
        "\r",
    ]
)


@settings(max_examples=150 * MORE, deadline=None)
@given(st.lists(st.lists(hostile, min_size=1, max_size=11), max_size=6), st.booleans())
def test_hostile_cells_never_raise(rows, quoted):
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, escapechar="\\")
    writer.writerows(rows)
    for each in read(HEAD + out.getvalue() + "\n" + ROW):
        assert isinstance(each, ExchangeFill | Bad)


values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | hostile, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from([*UNIFIED, "cost", "currency", "fees"]) | st.text(max_size=3), v, max_size=5), max_leaves=12)  # fmt: skip


@settings(max_examples=150 * MORE, deadline=None)
@given(st.dictionaries(st.sampled_from([*UNIFIED, "fees"]), values), st.text(max_size=40))
def test_hostile_json_never_raises(changes, junk):
    trade = json.dumps({**UNIFIED, **changes})
    for text in (f"[{trade},{junk}", f"{json.dumps(UNIFIED)}\n{trade}\n{junk}"):
        for each in read(text):
            assert isinstance(each, ExchangeFill | Bad)


@settings(max_examples=100 * MORE, deadline=None)
@given(st.binary(max_size=300))
def test_hostile_files(content):
    try:
        for each in read_trades(io.BytesIO(content)):
            assert isinstance(each, ExchangeFill | Bad)
    except BotobsError:
        pass


def test_a_generator_left_alone_closes_its_file(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(HEAD + ROW)
    trades = read_trades(path)
    assert trades._source._own.closed is False
    source = trades._source
    del trades
    assert source._own.closed


def test_a_moment_of_a_zone_object():
    assert one(
        "ts,symbol,side,qty,price\n2026-01-02 03:04:05,A/B,buy,1,1\n", timezone=dt.timezone(dt.timedelta(hours=1))
    ).ts.startswith("2026-01-02T02")
