/** JupyterLab with the extension, Debian's or the user's Chromium, and no request beyond this machine. */
const fs = require('fs');
const path = require('path');

const base = require('@jupyterlab/galata/lib/playwright-config');

/** PM_LAB_CHROMIUM, or the first of the usual names on the PATH. */
function chromium() {
  const names = [process.env.PM_LAB_CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'];
  const folders = ['', ...process.env.PATH.split(path.delimiter)];
  const places = names.filter(Boolean).flatMap(name => folders.map(folder => path.join(folder, name)));
  return places.find(place => path.isAbsolute(place) && fs.existsSync(place));
}

const port = process.env.PM_LAB_UI_PORT ?? '8899';
const address = `http://127.0.0.1:${port}`;
process.env.TARGET_URL = address;

module.exports = {
  ...base,
  testDir: 'tests',
  outputDir: '../../build/ui-tests/results',
  reporter: [['list']],
  timeout: 180000,
  expect: { timeout: 20000 },
  workers: 1,
  forbidOnly: true,
  use: {
    ...base.use,
    baseURL: address,
    viewport: { width: 1280, height: 900 },
    video: 'off',
    trace: 'off',
    launchOptions: {
      executablePath: chromium(),
      args: [
        '--no-sandbox',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--disable-domain-reliability',
        '--no-pings',
        '--enable-unsafe-swiftshader'
      ]
    }
  },
  webServer: {
    command: 'jlpm start',
    url: `${address}/lab`,
    timeout: 120000,
    reuseExistingServer: false,
    env: { PM_LAB_UI_PORT: port, PM_LAB_OFFLINE: '1' }
  }
};
