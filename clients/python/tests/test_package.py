"""The package as pip makes it of the folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parents[1]


def test_pip_builds_a_typed_package_out_of_the_folder(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    # Nothing is fetched: the build backend is installed with the test tools.
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", tmp_path, FOLDER], check=True)
    (wheel,) = tmp_path.glob("eaves_client-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "eaves/py.typed" in names
    assert {n for n in names if not n.startswith("eaves/")} == {n for n in names if ".dist-info/" in n}, (
        "nothing but the package"
    )
    code = "import eaves, sys; print(eaves.__version__, eaves.__file__, 'pandas' in sys.modules)"
    asked = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(wheel)!r}); {code}"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    version, file, pandas = said.split()
    assert version in wheel.name
    assert file.startswith(str(wheel))
    # It is imported when a frame is made, and not before.
    assert pandas == "False"
