import pytest
from botobs.errors import ConfigError
from botobs.sinks.otlp.target import Batching, OtlpTarget, Pushing, batching, pushing, resolve
from hypothesis import given
from hypothesis import strategies as st

E = "OTEL_EXPORTER_OTLP_"
HTTP, GRPC = "http/protobuf", "grpc"


@pytest.mark.parametrize(
    ("signal", "setting", "env", "protocol", "url", "insecure"),
    [
        ("traces", "http://c:4318", {}, HTTP, "http://c:4318/v1/traces", True),
        ("metrics", "https://c:4318/", {}, HTTP, "https://c:4318/v1/metrics", False),
        ("traces", "https://c/otlp", {}, HTTP, "https://c/otlp/v1/traces", False),
        ("traces", "http://c:4318/v1/traces", {}, HTTP, "http://c:4318/v1/traces", True),
        ("metrics", "http://c:4318/v1/traces", {}, HTTP, "http://c:4318/v1/metrics", True),
        ("traces", "http://c:4317", {}, GRPC, "c:4317", True),
        ("traces", "https://c:4317", {}, GRPC, "c:4317", False),
        ("traces", "grpc://c", {}, GRPC, "c:4317", True),
        ("traces", "grpcs://c:443", {}, GRPC, "c:443", False),
        ("traces", "http://[::1]:4317", {}, GRPC, "[::1]:4317", True),
        ("traces", "http://c:4317", {E + "PROTOCOL": HTTP}, HTTP, "http://c:4317/v1/traces", True),
        ("traces", "http://c:4318", {E + "PROTOCOL": "grpc"}, GRPC, "c:4318", True),
        ("traces", "c:4317", {E + "INSECURE": "true"}, GRPC, "c:4317", True),
        ("traces", "http://c:1", {E + "ENDPOINT": "http://d:2"}, HTTP, "http://c:1/v1/traces", True),
        ("traces", None, {E + "ENDPOINT": "http://d:2"}, HTTP, "http://d:2/v1/traces", True),
        # an endpoint for one signal is used as it is
        (
            "traces",
            None,
            {E + "TRACES_ENDPOINT": "http://d:2/in", E + "ENDPOINT": "x"},
            HTTP,
            "http://d:2/in",
            True,
        ),
        (
            "metrics",
            None,
            {E + "TRACES_ENDPOINT": "x", E + "ENDPOINT": "http://d"},
            HTTP,
            "http://d/v1/metrics",
            True,
        ),
        ("traces", None, {E + "ENDPOINT": "http://d:4317"}, GRPC, "d:4317", True),
        ("traces", None, {E + "ENDPOINT": "d:4317"}, GRPC, "d:4317", False),
        (
            "traces",
            None,
            {E + "ENDPOINT": "http://d:1", E + "PROTOCOL": "grpc", E + "TRACES_PROTOCOL": HTTP},
            HTTP,
            "http://d:1/v1/traces",
            True,
        ),
        ("logs", "http://c:4318", {"OTEL_TRACES_EXPORTER": "none"}, HTTP, "http://c:4318/v1/logs", True),
        ("traces", "http://c:1", {"OTEL_TRACES_EXPORTER": "console"}, HTTP, "http://c:1/v1/traces", True),
    ],
)
def test_where_it_goes(signal, setting, env, protocol, url, insecure):
    target = resolve(signal, setting, env)
    assert (target.protocol, target.url, target.insecure) == (protocol, url, insecure)


@pytest.mark.parametrize(
    ("signal", "setting", "env"),
    [
        ("traces", None, {}),
        ("traces", " ", {E + "ENDPOINT": " "}),
        ("traces", None, {E + "METRICS_ENDPOINT": "http://d:1"}),
        ("traces", "http://c:1", {"OTEL_SDK_DISABLED": "True"}),
        ("traces", "http://c:1", {"OTEL_TRACES_EXPORTER": "none"}),
        ("metrics", "http://c:1", {"OTEL_METRICS_EXPORTER": " None "}),
        ("traces", None, {"OTEL_TRACES_EXPORTER": "console", E + "ENDPOINT": "http://d:1"}),
    ],
)
def test_nowhere(signal, setting, env):
    assert resolve(signal, setting, env) is None


def test_the_rest_is_read_for_the_signal_first(tmp_path):
    pem = tmp_path / "ca.pem"
    pem.write_text("x")
    env = {
        E + "HEADERS": "a=1",
        E + "TRACES_HEADERS": "X-Key=s%3Dcret, plain=Bearer abc==,",
        E + "TIMEOUT": "3",
        E + "TRACES_TIMEOUT": "2.5",
        E + "COMPRESSION": "gzip",
        E + "METRICS_COMPRESSION": "deflate",
        E + "CERTIFICATE": str(pem),
        E + "TRACES_CLIENT_KEY": str(pem),
        E + "CLIENT_CERTIFICATE": str(pem),
    }
    traces, metrics = (resolve(signal, "https://c:4318", env) for signal in ("traces", "metrics"))
    assert dict(traces.headers) == {"x-key": "s=cret", "plain": "Bearer abc=="}
    assert (traces.timeout_s, traces.compression) == (2.5, "gzip")  # seconds, as Python's exporters have it
    assert (traces.certificate, traces.client_key, traces.client_certificate) == (str(pem),) * 3
    assert (dict(metrics.headers), metrics.timeout_s, metrics.compression) == ({"a": "1"}, 3.0, "deflate")
    assert metrics.client_key is None


@pytest.mark.parametrize(
    ("setting", "env", "named", "right"),
    [
        ("ftp://c", {}, "otlp_endpoint", "http://"),
        ("http://", {}, "otlp_endpoint", "must be a URL"),
        ("http://c:port", {}, "otlp_endpoint", "must be a URL"),
        ("http://c:99999", {}, "otlp_endpoint", "must be a URL"),
        ("http://[::1", {}, "otlp_endpoint", "must be a URL"),
        ("http://c\n:1", {}, "otlp_endpoint", "control"),
        ("c:4317", {}, "otlp_endpoint", "http:// (plain) or https:// (TLS)"),
        ("c:4318", {}, "otlp_endpoint", "http://c:4318"),
        (None, {E + "ENDPOINT": "c:4318"}, E + "ENDPOINT", "http://c:4318"),
        (None, {E + "TRACES_ENDPOINT": "nope://c"}, E + "TRACES_ENDPOINT", "'nope'"),
        ("http://c", {E + "PROTOCOL": "http/json"}, E + "PROTOCOL", "'grpc' or 'http/protobuf'"),
        ("http://c", {E + "TRACES_TIMEOUT": "soon"}, E + "TRACES_TIMEOUT", "seconds"),
        ("http://c", {E + "TIMEOUT": "-1"}, E + "TIMEOUT", "positive"),
        ("http://c", {E + "TIMEOUT": "inf"}, E + "TIMEOUT", "positive"),
        ("http://c", {E + "COMPRESSION": "zip"}, E + "COMPRESSION", "'gzip'"),
        ("http://c", {E + "HEADERS": "s3cret"}, E + "HEADERS", "name=value"),
        ("http://c", {E + "HEADERS": "k=s3cret%0d%0ax: y"}, E + "HEADERS", "printable"),
        ("http://c", {E + "CERTIFICATE": "/nowhere/ca.pem"}, E + "CERTIFICATE", "readable file"),
        ("c:4317", {E + "INSECURE": "yes"}, E + "INSECURE", "'true' or 'false'"),
    ],
)
def test_wrong_values_name_the_setting_and_what_is_right(setting, env, named, right):
    with pytest.raises(ConfigError) as caught:
        resolve("traces", setting, env)
    assert named in str(caught.value)
    assert right in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_secrets_are_never_shown():
    target = resolve("traces", "https://bot:s3cret@c:4318/in?key=s3cret", {E + "HEADERS": "api-key=s3cret"})
    assert "s3cret" not in repr(target) + target.place
    assert "api-key" in repr(target)
    assert dict(target.headers)["authorization"] == "Basic Ym90OnMzY3JldA=="
    assert "@" not in target.url
    with pytest.raises(ConfigError) as caught:
        resolve("traces", "ftp://bot:s3cret@c?key=s3cret", {})
    assert "s3cret" not in str(caught.value)


@given(
    st.text() | st.text().map("http://".__add__),
    st.dictionaries(
        st.sampled_from(
            [
                E + "PROTOCOL",
                E + "HEADERS",
                E + "TIMEOUT",
                E + "COMPRESSION",
                E + "INSECURE",
                E + "CLIENT_KEY",
            ]
        ),
        st.text(),
    ),
)
def test_any_text_is_a_target_or_a_config_error(setting, env):
    try:
        target = resolve("traces", setting, env)
    except ConfigError:
        return
    assert target is None or isinstance(target, OtlpTarget)


def test_batching_and_pushing_read_the_standard_variables():
    assert batching({}) == Batching(65_536, 2_048, 2.0, 30.0)
    assert batching({"OTEL_BSP_MAX_QUEUE_SIZE": "100"}) == Batching(100, 100, 2.0, 30.0)
    assert batching(
        {
            "OTEL_BSP_MAX_QUEUE_SIZE": "10",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            "OTEL_BSP_EXPORT_TIMEOUT": "1500",
        }
    ) == Batching(10, 5, 0.25, 1.5)
    assert pushing({}) == Pushing(60.0, 30.0)
    assert pushing({"OTEL_METRIC_EXPORT_INTERVAL": "500", "OTEL_METRIC_EXPORT_TIMEOUT": "100"}) == Pushing(0.5, 0.1)


@pytest.mark.parametrize(
    ("read", "env", "named"),
    [
        (batching, {"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "QUEUE_SIZE"),
        (batching, {"OTEL_BSP_MAX_QUEUE_SIZE": "1.5"}, "QUEUE_SIZE"),
        (batching, {"OTEL_BSP_MAX_QUEUE_SIZE": "5", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "6"}, "BATCH_SIZE"),
        (batching, {"OTEL_BSP_SCHEDULE_DELAY": "x"}, "DELAY"),
        (pushing, {"OTEL_METRIC_EXPORT_INTERVAL": "nan"}, "INTERVAL"),
    ],
)
def test_wrong_numbers_are_config_errors(read, env, named):
    with pytest.raises(ConfigError, match=named):
        read(env)
