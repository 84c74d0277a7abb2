"""A user of the API who asks all the time, whatever happens behind it."""

import threading

import httpx

POINT = {"lat": 46.85, "lon": 8.1}
"""In both regions of an `Installation`."""


class Asker:
    """Asks for forecasts, runs and pictures over and over, and notes every answer that is not 200."""

    def __init__(self, address):
        self.count, self.failed, self.models = 0, [], []
        self._address, self._stop = address, threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)

    def _ask(self):
        with httpx.Client(base_url=self._address, timeout=30) as client:
            while not self._stop.wait(0.01):
                found = self._get(client, "/v1/regions/coast/forecast", POINT)
                self._get(client, "/v1/forecast", POINT)
                runs = self._get(client, "/v1/runs", {"region": "coast"})
                if found and runs:
                    self.models.append(runs.json()[0]["model"])
                    base = found.json()["base_time"]
                    self._get(client, f"/v1/images/coast/{base}/rain_mean/30.png")

    def _get(self, client, path, parameters=None):
        self.count += 1
        answer = client.get(path, params=parameters)
        if answer.status_code == 200:
            return answer
        self.failed.append((answer.status_code, path, answer.text[:300]))
        return None
