"""The page in a real browser: each control used and its effect read back, the console silent."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or ""
PROBE = """
<script>
const $ = (selector) => document.querySelector(selector);
const click = (element) => element.click();
const seen = {errors: []};
const visible = (chart) => chart.data.filter((trace) => trace.visible).length;
try {
  const pareto = $('[data-chart="pareto-0"]');
  seen.before = visible(pareto);
  click($('#pareto [data-label]'));
  seen.after = visible(pareto);
  click($('#pareto [data-bars]'));
  seen.bars = pareto.data.filter((trace) => trace.error_y && trace.error_y.visible).length;
  const rows = () => [...document.querySelectorAll('#results-t tbody tr')].filter((row) => !row.hidden);
  seen.focused = rows().length;
  click($('[name=filter][value=""]'));
  seen.rows = rows().length;
  const head = [...document.querySelectorAll('#results-t th button')].find((b) => b.textContent.startsWith('Top-1'));
  click(head);
  seen.sort = head.parentElement.getAttribute('aria-sort');
  const place = [...head.parentElement.parentElement.children].indexOf(head.parentElement);
  seen.sorted = rows().map((row) => Number(row.children[place].dataset.sort));
  const lift = $('[data-chart="lift-0"]');
  click($('[name=budget-fb0][value="0.6"]'));
  seen.budgets = [...new Set(lift.data.filter((trace) => trace.visible).map((trace) => trace.meta.budget))];
  seen.maps = document.querySelectorAll('.maps canvas').length;
  const map = [...document.querySelectorAll('.maps canvas')].at(-1).getAttribute('aria-label');
  click($('[name=budget-kb0][value="0.2"]'));
  seen.mapChanged = map !== [...document.querySelectorAll('.maps canvas')].at(-1).getAttribute('aria-label');
  const tile = () => $('.gallery').textContent;
  const shown = tile();
  click(document.querySelectorAll('[data-image]')[2]);
  seen.imageChanged = shown !== tile();
  seen.tiles = document.querySelectorAll('.tile').length;
  seen.loaded = performance.getEntriesByType('resource').filter((entry) => !entry.name.startsWith('data:')).length;
} catch (error) { seen.errors.push(String(error)); }
const out = document.createElement('output');
out.id = 'seen';
out.textContent = JSON.stringify(seen);
document.body.append(out);
</script>
"""


FRAME = """
<iframe id="frame" src="page.html" style="width: 400px; height: 900px; border: 0"></iframe>
<script>
const frame = document.getElementById('frame');
frame.onload = () => setTimeout(() => {
  const root = frame.contentDocument.documentElement;
  const out = document.createElement('output');
  out.id = 'seen';
  out.textContent = JSON.stringify({scroll: root.scrollWidth, inner: frame.contentWindow.innerWidth});
  document.body.append(out);
}, 300);
</script>
"""


def _seen(folder: Path, tmp_path: Path) -> tuple[dict[str, Any], str]:
    page = tmp_path / "page.html"
    source = (folder / "report" / "index.html").read_text(encoding="utf-8")
    page.write_text(source.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    return _opened(page, tmp_path)


def _opened(page: Path, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """What the `page` left in its element ``seen``, and the browser's log."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--window-size=1280,2000",
        f"--user-data-dir={tmp_path / 'profile'}", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--no-first-run", "--allow-file-access-from-files",
        "--virtual-time-budget=8000", "--enable-logging=stderr", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<output id="seen">(.*?)</output>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found.group(1))), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_every_control_does_what_it_says(kind: str, run_folder: Path, hostile_folder: Path, tmp_path: Path) -> None:
    seen, log = _seen(run_folder if kind == "plain" else hostile_folder, tmp_path)
    assert seen["errors"] == []
    assert not [line for line in log.splitlines() if "CONSOLE" in line]
    assert seen["after"] == seen["before"] - 1
    assert seen["bars"] == 9
    assert (seen["focused"], seen["rows"]) == (9, 39)
    assert seen["sort"] == "descending"
    assert seen["sorted"] == sorted(seen["sorted"], reverse=True)
    assert seen["budgets"] == [0.6]
    assert seen["maps"] == 7 * 7
    assert seen["mapChanged"]
    assert seen["imageChanged"]
    assert seen["tiles"] == 8
    assert seen["loaded"] == 0


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_a_narrow_page_does_not_scroll_sideways(
    kind: str, run_folder: Path, hostile_folder: Path, tmp_path: Path
) -> None:
    folder = run_folder if kind == "plain" else hostile_folder
    shutil.copy(folder / "report" / "index.html", tmp_path / "page.html")
    frame = tmp_path / "frame.html"  # a window of its own may not be as narrow as a telephone
    frame.write_text(FRAME, encoding="utf-8")
    seen, _ = _opened(frame, tmp_path)
    assert seen["inner"] == 400
    assert seen["scroll"] <= seen["inner"]
