"""Raw files: plain, packed, in archives; damage is a DataError that names the file."""

import gzip
import zipfile

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged_bytes

from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.files import RawFile, list_files

TEXT = b"1,2,3\n" * 200


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(name.replace("__", "/").replace("_", "."), data)
    return path


def files(folder):
    """One content in every form."""
    (folder / "a.csv").write_bytes(TEXT)
    (folder / "b.csv.gz").write_bytes(gzip.compress(TEXT))
    (folder / "c.csv.zst").write_bytes(zstd(TEXT))
    archive(folder / "d.zip", sub__e_csv=TEXT, f_csv_gz=gzip.compress(TEXT), g_csv_zst=zstd(TEXT), h_txt=b"words")
    return list_files(folder, [".csv"])


def test_every_form(tmp_path):
    found = files(tmp_path)
    assert [file.name for file in found] == ["a.csv", "b.csv", "c.csv", "f.csv", "g.csv", "e.csv"]
    assert [file.read() for file in found] == [TEXT] * 6
    assert [file.head(3) for file in found] == [b"1,2"] * 6
    assert [str(file) for file in found[-2:]] == [f"{tmp_path}/d.zip!g.csv.zst", f"{tmp_path}/d.zip!sub/e.csv"]
    assert len({file.place for file in found}) == 3  # the folder, the archive, its subfolder
    assert sum(file.num_bytes for file in found[:3]) == sum(file.path.stat().st_size for file in found[:3])
    assert 0 < found[3].num_bytes < len(TEXT)


def test_what_a_path_stands_for(tmp_path):
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    for name in ("x.csv", ".hidden.csv", "y.txt"):
        (inner / name).write_bytes(TEXT)
    assert [file.path.name for file in list_files(tmp_path, [".csv"])] == ["x.csv"]
    assert [file.path.name for file in list_files(tmp_path, [".csv", ".txt"])] == ["x.csv", "y.txt"]
    assert list_files(str(inner / "y.txt"), [".csv"]) == [RawFile(inner / "y.txt")]
    with pytest.raises(DataError, match="absent: no such file or folder"):
        list_files(tmp_path / "absent", [".csv"])


def test_what_a_mac_packs_beside_the_files_is_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        for name in ("ev.csv", "__MACOSX/._ev.csv", "sub/ev.csv", "__MACOSX/sub/._ev.csv", ".DS_Store"):
            opened.writestr(name, TEXT)
    assert [file.member for file in list_files(tmp_path / "a.zip", [".csv"])] == ["ev.csv", "sub/ev.csv"]
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        opened.extractall(tmp_path / "unpacked")
    names = [file.path.relative_to(tmp_path).as_posix() for file in list_files(tmp_path / "unpacked", [".csv"])]
    assert names == ["unpacked/ev.csv", "unpacked/sub/ev.csv"]


def test_an_encrypted_member(tmp_path):
    path = archive(tmp_path / "a.zip", x_csv=TEXT)
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip!x\.csv: cannot be read .*encrypted"):
        RawFile(path, "x.csv").read()


@pytest.mark.fuzz
@given(st.data())
def test_damage_is_an_error_or_other_bytes(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("files")
    path = data.draw(st.sampled_from(files(folder))).path
    path.write_bytes(data.draw(damaged_bytes(path.read_bytes())))
    try:
        for file in list_files(folder, [".csv"]):
            file.checksum()
            assert isinstance(file.read(), bytes)
    except DataError as error:
        assert error.source.startswith(str(path))  # noqa: PT017
