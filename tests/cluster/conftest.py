"""What tests of whole runs share: the mini config's data set and its uninterrupted in-process run, made once."""

import os

import pytest

from pipeline.store.store import Store
from tests.cluster import mini


@pytest.fixture(scope="session")
def mini_data(tmp_path_factory):
    """Folder of the demo images, composed by the first run that reads it."""
    return tmp_path_factory.mktemp("mini") / "data"


@pytest.fixture(scope="session")
def reference(mini_data, tmp_path_factory):
    """Store of an uninterrupted in-process run of mini.yaml."""
    root = tmp_path_factory.mktemp("reference") / "run"
    mini.run(root, mini_data, "--in-process").check()
    return Store(str(root))


@pytest.fixture
def s3_root(monkeypatch):
    """URI of a run root on an S3 server of this test alone; sub-processes find it through the environment."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    for name, value in mini.s3_environment("http://{}:{}".format(*server.get_host_and_port())).items():
        monkeypatch.setenv(name, value)
    for proxy in ("http_proxy", "HTTP_PROXY"):
        if proxy in os.environ:
            monkeypatch.delenv(proxy)
    boto3.client("s3").create_bucket(Bucket="weakbox-test")
    mini.forget_s3()
    yield "s3://weakbox-test/run"
    server.stop()
    mini.forget_s3()
