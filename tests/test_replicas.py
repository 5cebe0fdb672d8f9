"""Generations that are uploaded, followed by another host: it has them whole, newest, or as before.

Each fact is shown on a folder, on S3 (moto) and, where only reading matters, on another instance.
"""

import argparse
import fcntl
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api.settings import ApiSettings
from etl import follow as follow_command
from etl import load as load_command
from etl import rollback
from etl.__main__ import bring_in_step
from etl.__main__ import main as etl_main
from etl.base import run_records
from etl.contracts.manifest import BLOCK_BYTES, hash_block, read_manifest
from etl.settings import Settings, SettingsError, read_settings
from etl.store.duckdb_file import attached
from etl.store.replicas import upload
from etl.store.replicas.fetch import following_of
from etl.store.replicas.folder import Folder
from etl.store.replicas.follower import hold_alone
from etl.store.replicas.instance import find_spans
from etl.store.replicas.objects import list_generations, pack, read_pointer
from etl.store.replicas.upload import UploadError
from tests.conftest import call_stage, make_bars, read_bars, read_record
from tests.replicas import NO_ENV, Hosts, serve_source
from tests.s3 import BUCKET, CREDENTIALS, run_s3
from tests.server import serve
from tests.stores import load_answer, store_of, write_store


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_s3(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture(params=["file", "s3"])
def hosts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    source, replica = tmp_path / "source", tmp_path / "replica"
    if request.param == "file":
        return Hosts(source, replica, f"file://{tmp_path}/remote")
    address = request.getfixturevalue("s3")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return Hosts(source, replica, f"s3://{BUCKET}/{tmp_path.name}", {"AWS_ENDPOINT_URL": address})


@pytest.fixture
def local(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path / "source", tmp_path / "replica", f"file://{tmp_path}/remote")


def reach(hosts: Hosts) -> Folder:
    return Folder(hosts.url, hosts.settings.get("AWS_ENDPOINT_URL", ""))


def find_newest_block(hosts: Hosts) -> str:
    """One that only the newest generation has."""
    folder = reach(hosts)
    new, old = (
        read_manifest(folder.read(f"manifests/{generation}.json")).blocks
        for generation in list_generations(folder)[:2]
    )
    return f"blocks/{next(digest for digest in new if digest not in old)}"


def test_a_replica_has_each_generation_byte_for_byte_and_fetches_only_what_changed(
    hosts: Hosts,
) -> None:
    hosts.load()
    first = hosts.follow().state
    assert hosts.are_equal()
    hosts.load()
    second = hosts.follow()
    assert hosts.are_equal()
    assert second.state.generation.startswith("2-")
    size = store_of(hosts.source).stat().st_size
    assert 0 < second.state.fetched_bytes - first.fetched_bytes < size / 4
    assert not following_of(store_of(hosts.replica)).exists()
    assert attached.previous_of(store_of(hosts.replica)).exists()
    second.look()
    assert (second.state.swaps, second.state.fault) == (2, "")


def test_a_replica_may_become_a_host_that_loads(local: Hosts) -> None:
    local.load()
    local.load()
    local.follow()
    record = load_answer(local.replica, "2024-02-01T00:00:00", ("AAPL", "2024-01-31", 9.0))
    assert record["generation"].startswith("3-")
    assert len(read_bars(store_of(local.replica))) == 3


def test_a_rollback_goes_to_replicas_as_a_new_generation(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = Hosts(data_dir, tmp_path / "replica", f"file://{tmp_path}/remote")
    hosts.load()
    hosts.load()
    hosts.follow()
    monkeypatch.setenv("PUBLISH_URL", hosts.url)
    assert call_stage(rollback.main) == 0
    hosts.follow()
    assert hosts.are_equal()
    assert len(read_bars(store_of(hosts.replica))) == 1


def test_only_the_newest_generations_stay_uploaded(hosts: Hosts) -> None:
    for _ in range(4):
        hosts.load(PUBLISH_KEEP="2")
    folder = reach(hosts)
    kept = list_generations(folder)
    assert [generation.partition("-")[0] for generation in kept] == ["4", "3"]
    manifests = (read_manifest(folder.read(f"manifests/{each}.json")) for each in kept)
    needed = {digest for manifest in manifests for digest in manifest.blocks}
    assert folder.list_sizes("blocks").keys() == needed
    hosts.follow()
    assert hosts.are_equal()


def test_what_could_not_be_uploaded_is_told_and_uploaded_by_a_run_that_has_nothing_new(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    remote = tmp_path / "remote"
    remote.write_text("no folder")
    monkeypatch.setenv("PUBLISH_URL", f"file://{remote}")
    bars = make_bars(tmp_path / "bars.parquet", [("AAPL", "2024-01-03", 5.0)])
    assert call_stage(load_command.main, "--input", bars) == 1
    told = capsys.readouterr().err
    assert "PUBLISH_URL cannot be" in told
    assert "the database here is published, its copy is not" in told
    assert len(read_bars(store_of(data_dir))) == 1
    stages = read_record(data_dir)["stages"]
    assert stages["load"]["status"] == "ok"
    assert stages["upload"]["status"] == "failed"
    assert stages["upload"]["failures"]["PUBLISH_URL"].startswith("upload: PUBLISH_URL cannot be")
    remote.unlink()
    assert call_stage(load_command.main, "--input", bars) == 0
    hosts = Hosts(data_dir, tmp_path / "replica", f"file://{remote}", loads=1)
    hosts.follow()
    assert hosts.are_equal()


def test_a_run_to_which_nothing_comes_uploads_what_is_not_uploaded_yet(local: Hosts) -> None:
    local.load(PUBLISH_URL="")
    told = {"DATA_DIR": str(local.source), "PUBLISH_URL": local.url}
    settings = read_settings(Settings, told, {}, NO_ENV)
    bring_in_step(settings, argparse.Namespace(), run_records.open_run(settings))
    local.follow()
    assert local.are_equal()


def test_a_failed_upload_is_a_failed_run_in_health_and_calls_on_failure(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "remote").write_text("no folder")
    script = tmp_path / "told"
    monkeypatch.setenv("PUBLISH_URL", f"file://{tmp_path}/remote")
    monkeypatch.setenv("ON_FAILURE", f"sh -c 'echo $ETL_STAGE $ETL_EXIT_CODE > {script}'")
    assert call_stage(etl_main, "--source", "sample") == 1
    assert script.read_text() == "upload 1\n"
    with serve(data_dir) as client:
        last = client.get("/health").json()["last_run"]
        assert (last["status"], last["stages"]["load"], last["stages"]["upload"]) == (
            *("failed", "ok", "failed"),
        )
        assert client.get("/instruments/AAPL").status_code == 200


def test_an_s3_that_is_gone_costs_the_upload_alone(local: Hosts) -> None:
    """Nobody listens there."""
    nowhere = {"PUBLISH_URL": "s3://no-bucket/x", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    with pytest.raises(UploadError, match=r"^PUBLISH_URL cannot be .*its copy is not"):
        local.load(**nowhere)
    assert len(read_bars(store_of(local.source))) == 1


def test_another_store_does_not_take_the_place_of_what_is_uploaded(
    hosts: Hosts, tmp_path: Path
) -> None:
    hosts.load()
    hosts.load()
    other = Hosts(tmp_path / "other", hosts.replica, hosts.url, hosts.settings)
    with pytest.raises(UploadError, match="another store is published there"):
        other.load()
    hosts.follow()
    assert hosts.are_equal()


@pytest.mark.parametrize(
    "harm",
    [
        *("missing", "another block"),
        *(
            pytest.param(harm, marks=pytest.mark.long)
            for harm in ("other bytes", "cut short", "not packed")
        ),
    ],
)
def test_a_damaged_block_is_never_served_and_the_next_upload_heals_it(
    hosts: Hosts, harm: str
) -> None:
    hosts.load()
    hosts.follow()
    hosts.load()
    name, folder = find_newest_block(hosts), reach(hosts)
    whole = folder.read(name)
    if harm == "missing":
        folder.remove([name])
    else:
        harmed = {"cut short": whole[:40], "other bytes": whole[:-1] + b"?", "not packed": b"no"}
        folder.write(name, harmed.get(harm) or pack(b"?" * BLOCK_BYTES))
    state = hosts.follow().state
    assert state.fault.startswith("the source (FOLLOW_URL) ")
    assert state.generation.startswith("1-")
    assert len(read_bars(store_of(hosts.replica))) == 1
    folder.remove([name] if harm != "missing" else [])
    hosts.loads -= 1
    hosts.load()  # has nothing new
    assert hosts.follow().state.fault == ""
    assert hosts.are_equal()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("current.json", b"", marks=pytest.mark.long),
        pytest.param("current.json", b'{"generation": "9-00000000"}', marks=pytest.mark.long),
        ("current.json", b'{"generation": "9-00000000", "manifest_digest": "00"}'),
        pytest.param("manifest", b"{}", marks=pytest.mark.long),
        pytest.param("manifest", b"[" * 9999, marks=pytest.mark.long),
    ],
)
def test_a_damaged_pointer_or_manifest_leaves_the_replica_as_it_is(
    local: Hosts, name: str, content: bytes
) -> None:
    local.load()
    local.follow()
    local.load()
    folder = reach(local)
    pointer = read_pointer(folder)
    assert pointer is not None
    folder.write(f"manifests/{pointer[0]}.json" if name == "manifest" else name, content)
    state = local.follow().state
    assert "damaged" in state.fault or "cannot be read" in state.fault
    assert state.generation.startswith("1-")


def test_an_upload_that_was_killed_before_the_pointer_is_not_seen_and_is_finished_by_the_next(
    hosts: Hosts,
) -> None:
    hosts.load()
    folder = reach(hosts)
    before = folder.read("current.json")
    hosts.load()
    folder.write("current.json", before)  # all of it is there but the last step
    hosts.follow()
    assert hosts.generations[1].startswith("1-")
    hosts.loads -= 1
    hosts.load()  # has nothing new
    hosts.follow()
    assert hosts.are_equal()


def test_a_replica_never_goes_back(hosts: Hosts) -> None:
    hosts.load()
    folder = reach(hosts)
    old = folder.read("current.json")
    hosts.load()
    hosts.follow()
    folder.write("current.json", old)
    state = hosts.follow().state
    assert "never goes back" in state.fault
    assert state.generation.startswith("2-")
    assert len(read_bars(store_of(hosts.replica))) == 2


def test_a_fetch_goes_on_where_it_was_broken_off(local: Hosts) -> None:
    for _ in range(2):
        local.load()
    name, folder = find_newest_block(local), reach(local)
    block = folder.read(name)
    folder.remove([name])
    partial = following_of(store_of(local.replica))
    assert local.follow().state.generation == ""
    assert partial.exists()
    partial.chmod(0o440)  # as a kill between chmod and rename leaves it
    folder.write(name, block)
    gone = [each for each in folder.list_sizes("blocks") if f"blocks/{each}" != name]
    held = {digest: folder.read(f"blocks/{digest}") for digest in gone}
    folder.remove(f"blocks/{digest}" for digest in gone)
    state = local.follow().state
    assert held
    assert state.fault == "", "what it has it does not ask again"
    assert local.are_equal()


def test_a_file_that_was_damaged_here_is_mended_when_following_begins(local: Hosts) -> None:
    local.load()
    local.follow()
    path = store_of(local.replica)
    path.chmod(0o640)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 50_000)
        file.write(b"damage")
    assert not local.are_equal()
    local.follow()
    assert local.are_equal()


def test_a_generation_of_a_newer_version_is_not_fetched(local: Hosts) -> None:
    local.load()
    local.follow()
    local.load()
    folder = reach(local)
    pointer = read_pointer(folder)
    assert pointer is not None
    name = f"manifests/{pointer[0]}.json"
    text = json.loads(folder.read(name))
    content = json.dumps({**text, "schema_version": 99}).encode()
    folder.write(name, content)
    folder.write(
        "current.json",
        json.dumps({"generation": pointer[0], "manifest_digest": hash_block(content)}).encode(),
    )
    assert "update this one" in local.follow().state.fault


def test_what_is_no_store_is_not_served_though_its_digests_are_right(
    local: Hosts, tmp_path: Path
) -> None:
    local.load()
    local.follow()
    write_store(store_of(local.source), "DROP TABLE corporate_actions")
    write_store(store_of(local.source), "UPDATE generation SET generation = '7-00000000'")
    upload.bring_in_step(reach(local), store_of(local.source), 3)
    state = local.follow().state
    assert "no whole store" in state.fault
    assert state.generation.startswith("1-")
    assert not following_of(store_of(local.replica)).exists()


def test_while_another_command_holds_the_folder_the_swap_waits_for_the_next_look(
    local: Hosts,
) -> None:
    local.load()
    local.replica.mkdir()
    with (local.replica / "etl.lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        follower = local.follow()
        assert follower.state.generation == ""
        assert "cannot take" in follower.state.fault
    follower.look()
    assert local.are_equal()


def test_of_two_processes_over_one_folder_one_follows(tmp_path: Path) -> None:
    """A lock of a file is of its handle, so two handles stand for two processes."""
    with ExitStack() as stack:
        assert hold_alone(tmp_path)
        assert not hold_alone(tmp_path)
        handle = stack.enter_context((tmp_path / "follow.lock").open("a+"))
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_replica_follows_an_instance(local: Hosts) -> None:
    local.load(PUBLISH_URL="")
    with serve_source(local) as hosts:
        follower = hosts.follow()
        assert follower.state.fault == ""
        assert hosts.are_equal()
        first = follower.state.fetched_bytes
        hosts.load(PUBLISH_URL="")
        follower.look()
        assert hosts.are_equal()
        size = store_of(hosts.source).stat().st_size
        assert 0 < follower.state.fetched_bytes - first < size
        follower.look()
        assert follower.state.swaps == 2
    follower.look()
    assert follower.state.fault == "the source (FOLLOW_URL) cannot be reached"
    assert follower.state.generation.startswith("2-")
    with serve(hosts.replica) as client:
        assert client.get("/instruments/AAPL/ohlcv").json()["count"] == 2


def test_a_manifest_has_an_etag_and_the_file_has_ranges(local: Hosts) -> None:
    local.load(PUBLISH_URL="")
    whole = store_of(local.source).read_bytes()
    with serve(local.source) as client:
        answer = client.get("/generations/current")
        etag = answer.headers["ETag"]
        assert (answer.status_code, answer.content) == (200, whole)
        assert etag == f'"{local.generations[0]}"'
        assert (
            client.get("/generations/current", headers={"If-None-Match": etag}).status_code == 304
        )
        for wanted, part in {"5-9": whole[5:10], "-7": whole[-7:], "100-": whole[100:]}.items():
            answer = client.get("/generations/current", headers={"Range": f"bytes={wanted}"})
            assert (answer.status_code, answer.content) == (206, part)
        beyond = {"Range": f"bytes={len(whole)}-"}
        assert client.get("/generations/current", headers=beyond).status_code == 416
        other = {"Range": "bytes=5-9", "If-Range": '"1-other"'}
        assert client.get("/generations/current", headers=other).content == whole
        manifest = client.get("/generations/current/manifest")
        assert read_manifest(manifest.content).generation == local.generations[0]
        known = {"If-None-Match": manifest.headers["ETag"]}
        assert client.get("/generations/current/manifest", headers=known).status_code == 304


def test_a_download_goes_on_over_a_publication_and_the_next_one_is_of_the_new_file(
    local: Hosts,
) -> None:
    local.load(PUBLISH_URL="")
    with serve(local.source) as client:
        whole = store_of(local.source).read_bytes()
        with client.stream("GET", "/generations/current") as answer:
            pieces = answer.iter_bytes()
            got = next(pieces)
            local.load(PUBLISH_URL="")
            assert client.get("/generations/current").headers["ETag"].startswith('"2-')
            assert got + b"".join(pieces) == whole


def test_where_an_older_generation_stands_in_it_is_not_given_to_others(local: Hosts) -> None:
    local.load(PUBLISH_URL="")
    local.load(PUBLISH_URL="")
    path = store_of(local.source)
    path.chmod(0o640)
    path.write_bytes(b"no database")
    with serve(local.source) as client:
        assert client.get("/health").json()["status"] == "degraded"
        assert client.get("/generations/current").status_code == 503


@pytest.mark.parametrize(
    ("numbers", "most", "spans"),
    [
        ([], 3, []),
        ([4], 3, [(4, 4)]),
        ([1, 2, 3, 9], 3, [(1, 3), (9, 9)]),
        ([1, 3, 9, 20, 22], 3, [(1, 3), (9, 9), (20, 22)]),
        ([1, 3, 5, 7, 9], 3, [(1, 9)]),
        ([1, 5, 6, 30], 1, [(1, 30)]),
    ],
)
def test_near_blocks_are_asked_for_together_so_that_requests_are_few(
    numbers: list[int], most: int, spans: list[tuple[int, int]]
) -> None:
    assert find_spans(numbers, most) == spans


def test_a_host_that_follows_loads_nothing_itself(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOLLOW_URL", "s3://bucket/path")
    for command in (etl_main, load_command.main, rollback.main):
        assert call_stage(command) == 2
        assert "this host takes its database from there" in capsys.readouterr().err
    assert call_stage(etl_main, "--if-needed") == 0
    assert not store_of(data_dir).exists()


def test_make_follow_says_what_is_missing(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_stage(follow_command.main, "--check") == 2
    assert "FOLLOW_URL is not set" in capsys.readouterr().err
    monkeypatch.setenv("FOLLOW_URL", "file:///somewhere")
    assert call_stage(follow_command.main, "--check") == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLISH_URL", "bucket/path"),
        ("PUBLISH_URL", "http://127.0.0.1:8000"),
        ("PUBLISH_URL", "s3://key:secret@bucket/path"),
        ("FOLLOW_URL", "https://ann:secret@data.example.com"),
        ("FOLLOW_URL", "http://"),
        ("FOLLOW_URL", "https://data.example.com/?key=secret"),
        ("AWS_ENDPOINT_URL", "http://s3.example.com"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000"),
        ("FOLLOW_SECONDS", "0"),
        ("PUBLISH_KEEP", "0"),
    ],
)
def test_an_address_that_cannot_be_used_or_holds_a_secret_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}="):
        read_settings(Settings, {name: value}, {}, NO_ENV)


@pytest.mark.parametrize("value", ["http://127.0.0.1:9000", "http://[::1]:9000", "https://s3.eu"])
def test_an_s3_is_reached_over_https_or_on_loopback(value: str) -> None:
    found = read_settings(ApiSettings, {"AWS_ENDPOINT_URL": value}, {}, NO_ENV)
    assert found.aws_endpoint_url == value


def test_no_answer_of_a_foreign_server_is_taken_for_a_generation(
    local: Hosts, sample_dir: Path
) -> None:
    with serve(sample_dir) as client:
        hosts = Hosts(sample_dir, local.replica, f"{client.base_url}/docs")
        assert "HTTP 404" in hosts.follow().state.fault
