"""Where the Parquet files of a view may lie: a file, a folder, a pattern, a file URL, an S3 bucket."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FileSource
from feast.data_format import DeltaFormat, ParquetFormat

from feature_repo.offline.errors import PointInTimeError
from feature_repo.offline.parquet_source import ParquetSource, is_parquet


def write(path: Path, first: int, **more: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"k": [first, first + 1], **more}), path)


def opened(path: str, repo_path: Path | str = "", **options: str) -> ParquetSource:
    return ParquetSource("sales", FileSource(path=path, file_format=ParquetFormat(), **options), str(repo_path))


def rows(source: ParquetSource) -> list[tuple[int, ...]]:
    with duckdb.connect() as connection:
        return connection.sql(f"SELECT * FROM {source.relation(connection)} ORDER BY k").fetchall()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two overlapping files, the younger with one more feature, in a folder whose name looks like a pattern."""
    folder = tmp_path / "it's [1]*"
    write(folder / "a.parquet", 1)
    write(folder / "2018" / "b.parquet", 2, x=[20, 30])
    (folder / "c.partial").write_text("half written")
    return folder


BOTH = [(1, None), (2, None), (2, 20), (3, 30)]


@pytest.mark.parametrize("path", ["{}", "{}/**/*.parquet", "file://{}", "{}/"])
def test_a_folder_is_read_with_all_below_it_and_a_feature_is_null_where_a_file_is_older(tmp_path, folder, path):
    plain = folder if "*" not in path else folder.rename(tmp_path / "plain")
    assert sorted(rows(opened(path.format(plain))), key=str) == sorted(BOTH, key=str)


def test_a_file_is_read_by_path_by_url_and_relative_to_the_repository(tmp_path, folder):
    file = folder / "a.parquet"
    for source in (opened(str(file)), opened(f"file://{file}"), opened(f"{folder.name}/a.parquet", tmp_path)):
        assert rows(source) == [(1,), (2,)]


def test_the_columns_of_every_file_are_known(folder):
    assert {Path(file).name: list(names) for file, names in opened(str(folder)).columns_by_file().items()} == {
        "a.parquet": ["k"],
        "b.parquet": ["k", "x"],
    }


def test_only_parquet_is_ours():
    assert is_parquet(FileSource(path="x"))
    assert not is_parquet(FileSource(path="x", file_format=DeltaFormat()))
    assert not is_parquet(None)


class Bucket(BaseHTTPRequestHandler):
    """As much of S3 as reading takes: list, head, and get with a range; `folder` of the server is the endpoint."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url, folder = urlparse(self.path), self.server.folder  # type: ignore[attr-defined]
        query, place = parse_qs(url.query), folder / unquote(url.path).strip("/")
        if "list-type" in query:
            return self._list(place, query.get("prefix", [""])[0])
        if not place.is_file():
            return self._answer(404, b"")
        body = place.read_bytes()
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-")).groups()  # type: ignore[union-attr]
        part = body[int(first) : int(last or len(body)) + 1]
        whole = {"Content_Length": str(len(body))} if self.command == "HEAD" else {}
        stamp = "Tue, 02 Jan 2018 05:00:00 GMT"
        return self._answer(206 if "Range" in self.headers else 200, part, Last_Modified=stamp, ETag='"1"', **whole)

    def _list(self, bucket: Path, prefix: str) -> None:
        keys = [(file.relative_to(bucket).as_posix(), file.stat().st_size) for file in sorted(bucket.rglob("*.*"))]
        found = [(key, size) for key, size in keys if key.startswith(prefix)]
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2018-01-02T05:00:00.000Z</LastModified>"
            "</Contents>"
            for key, size in found
        )
        head = f"<IsTruncated>false</IsTruncated><KeyCount>{len(found)}</KeyCount>"
        self._answer(200, f"<ListBucketResult>{head}{entries}</ListBucketResult>".encode(), Content_Type="text/xml")


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    write(tmp_path / "lake" / "sales" / "a.parquet", 1)
    write(tmp_path / "lake" / "sales" / "2018" / "b.parquet", 2, x=[20, 30])
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        server.folder = tmp_path  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", ["s3://lake/sales", "s3://lake/sales/", "s3://lake/sales/*.parquet"])
def test_a_bucket_is_read_like_a_folder_without_an_extension_of_duckdb(endpoint, path):
    source = opened(path, s3_endpoint_override=endpoint)
    assert sorted(rows(source), key=str) == sorted(BOTH, key=str)
    assert {len(names) for names in source.columns_by_file().values()} == {1, 2}


def test_one_key_of_a_bucket_is_read_and_one_that_is_not_there_is_refused(endpoint):
    assert rows(opened("s3://lake/sales/a.parquet", s3_endpoint_override=endpoint)) == [(1,), (2,)]
    with pytest.raises(PointInTimeError, match="view sales: no Parquet file at s3://lake/none"):
        rows(opened("s3://lake/none", s3_endpoint_override=endpoint))
