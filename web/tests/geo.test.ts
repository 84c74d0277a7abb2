import { expect, test } from "vitest";

import { fitted, placeAt, projection } from "../src/geo";

test.each([
  { clientWidth: 1280, clientHeight: 800 },
  { clientWidth: 390, clientHeight: 844 },
])("a pixel is the place that is drawn there, $clientWidth wide", (size) => {
  const camera = fitted([2, 49, 9, 54], size);
  for (const [lon, lat] of [[2, 49], [5.12, 52.09], [9, 54]] as [number, number][]) {
    const place = placeAt(camera, size, projection(camera, size)([lon, lat]));
    expect(place.lat).toBeCloseTo(lat, 9);
    expect(place.lon).toBeCloseTo(lon, 9);
  }
});
