# SPDX-License-Identifier: MIT
"""superd-status's pages in headless Chromium: three widths, both schemes, live, without a script, and for everybody."""

import base64
import os
import pathlib
import re
import shutil
import unittest

from harness import SuperdCase

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
except ImportError:
    webdriver = None

HERE = pathlib.Path(__file__).parent
TCP = "tcp://127.0.0.1:0"
WIDTHS = 375, 900, 1600
SCHEMES = "light", "dark"
LONG = "a-service-with-quite-a-long-name-that-nobody-would-type-twice"


@unittest.skipUnless(webdriver and shutil.which("chromium") and shutil.which("chromedriver"),
                     "needs chromium, chromium-driver and python3-selenium: tests/status/look")
class Look(SuperdCase):
    def setUp(self):
        super().setUp()
        text = re.sub(r'"tcp://127\.0\.0\.1:\d+"', f'"{TCP}"', (HERE / "../../conf.d/status.toml").read_text())
        self.daemon = self.superd({
            "status": text,
            "cat": dict(listen=TCP, model="fork", exec=["cat"], description="says it again <b>&",
                        access={"deny": ["127.0.0.9"]}, limits={"instances": 4}),
            "bad": dict(listen=TCP, model="fork", exec=["sh", "-c", "exit 1"]),
            "gone": dict(listen="tcp://203.0.113.7:9", model="fork", exec=["cat"]),
            LONG: dict(listen="unix://" + self.new_path(), model="fork", exec=["cat"])},
            config='[control]\nreaders = ["nogroup"]\n')
        self.base = self.daemon.address("status").replace("tcp:", "http:")
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     f"--user-data-dir={self.daemon.directory}/browser", "--no-first-run", "--disable-background-networking"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        self.addCleanup(self.browser.quit)

    def new_path(self):
        return "/tmp/superd-look-" + str(os.getpid()) + "-with-a-long-path-" + "x" * 40

    def use(self):
        """Clients of every fate; some stay."""
        for _ in range(3):
            self.converse(self.daemon.address("cat"))
            with self.client(self.daemon.address("bad")) as client:
                client.recv(1)
        with self.client(self.daemon.address("cat"), source=("127.0.0.9", 0)) as denied:
            denied.recv(1)
        return [self.client(self.daemon.address("cat")) for _ in range(4)]

    def show(self, width, scheme="light", scripts=True):
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                     {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                     {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})

    def picture(self, name):
        folder = pathlib.Path(os.environ["SUPERD_SHOTS"])
        folder.mkdir(parents=True, exist_ok=True)
        taken = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        data = base64.b64decode(taken["data"])
        (folder / f"{name}.png").write_bytes(data)
        return data

    def main(self):
        return self.browser.find_element(By.TAG_NAME, "main").text

    def complaints(self):
        """What the browser has to say, such as of the content policy."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def test_widths_schemes_and_everybody(self):
        """Each page in each width and scheme: nothing is cut off, and it can be used by everybody."""
        self.use()
        checks = (HERE / "checks.js").read_text()
        axe = pathlib.Path(os.environ["AXE"]).read_text() if "AXE" in os.environ else None
        pictures = set()
        for name, path in (("overview", "/"), ("found", "/?find=cat"), ("service", "/service/cat?client=127.0.0.9"),
                           ("long", f"/service/{LONG}"), ("none", "/service/none")):
            for width in WIDTHS:
                for scheme in SCHEMES:
                    with self.subTest(page=name, width=width, scheme=scheme):
                        self.show(width, scheme)
                        self.browser.get(self.base + path)
                        self.eventually(lambda: "Pause updates" in self.browser.page_source, "the script runs")
                        found = self.browser.execute_script(checks)
                        self.assertEqual(found, [])
                        if axe:
                            self.browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
                            found = self.browser.execute_async_script(
                                "axe.run().then(r => arguments[0](r.violations.map(v => v.id + ': ' + v.nodes[0].html)))")
                            self.assertEqual(found, [])
                        pictures.add(self.picture(f"{name}-{width}-{scheme}"))
        self.assertEqual(len(pictures), 5 * len(WIDTHS) * len(SCHEMES))
        self.assertEqual([line for line in self.complaints() if "404" not in line and "503" not in line], [])

    def test_live(self):
        """A client that comes and goes is seen without anybody doing anything, and what is being typed stays."""
        self.show(1600)
        self.browser.get(self.base + "/service/cat")
        self.assertIn("There are none.", self.main())
        field = self.browser.find_element(By.ID, "client")
        field.send_keys("192.0.2.")
        client = self.client(self.daemon.address("cat"))
        self.eventually(lambda: "1 of 4" in self.main() and "%s:%d" % client.getsockname() in self.main(), "it is shown")
        self.assertEqual(field.get_attribute("value"), "192.0.2.")
        self.assertTrue(self.browser.execute_script("return document.activeElement.id === 'client'"))
        client.close()
        self.eventually(lambda: "0 of 4" in self.main(), "it has gone")
        button = self.browser.find_element(By.CSS_SELECTOR, "#live button")
        button.click()
        self.eventually(lambda: "Paused" in self.browser.find_element(By.ID, "live").text, "paused")
        self.assertEqual(button.text, "Resume updates")
        self.client(self.daemon.address("cat"))
        button.click()
        self.eventually(lambda: "1 of 4" in self.main(), "it goes on")
        self.assertEqual(self.complaints(), [])

    def test_superd_status_that_goes_away(self):
        """The page stays, says that it is not reached, and goes on when it is there again."""
        self.show(900)
        self.browser.get(self.base + "/")
        word = self.browser.find_element(By.CSS_SELECTOR, "#live [role=status]")
        self.eventually(lambda: word.text == "Live", "live")
        self.browser.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        self.eventually(lambda: word.text.startswith("Not reached"), "it says so")
        self.assertIn("cat", self.main())
        self.browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**offline, "offline": False})
        self.eventually(lambda: word.text == "Live", "live again")

    def test_without_a_script(self):
        """The same page as a static one; its links and its form work."""
        self.use()
        self.show(900, scripts=False)
        self.browser.get(self.base + "/")
        self.eventually(lambda: self.browser.refresh() or "denied 1" in self.main(), "what has happened is shown")
        self.assertIn("Reload the page", self.browser.find_element(By.ID, "live").text)
        self.picture("static-900-light")
        self.browser.find_element(By.LINK_TEXT, "cat").click()
        self.eventually(lambda: self.browser.current_url.endswith("/service/cat"), "the service's page")
        self.browser.find_element(By.ID, "client").send_keys("127.0.0.9")
        self.browser.find_element(By.CSS_SELECTOR, "#explain button").click()
        self.eventually(lambda: "refused: access (deny 127.0.0.9" in self.browser.page_source, "the explanation")
        self.assertEqual(self.complaints(), [])
