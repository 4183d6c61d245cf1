import type { Source } from "../api/types";

/** How sources are drawn; the legend draws the same shapes. */
export const SHAPE_OF: Record<Source, number> = { gnss: 0, wifi: 1, cell: 2, network: 3, unknown: 4 };
export const SILENT = 8;

/** What both programs share: where a device is now, in pixels from the middle of the map. */
const PLACE = `#version 300 es
precision highp float;
layout(location = 0) in vec2 corner;
layout(location = 1) in vec4 before;
layout(location = 2) in vec4 after;
layout(location = 3) in vec4 facts;  // moved at, fixed at, accuracy in parts of the world, shape and silence
uniform vec4 centre;
uniform vec2 viewport;
uniform float world;
uniform float now;
uniform float moveTime;
uniform float ratio;

vec2 place() {
  // Coordinates have a high and a low part each, because one float is only good for two metres.
  float share = moveTime <= 0.0 ? 1.0 : smoothstep(0.0, 1.0, (now - facts.x) / moveTime);
  vec2 high = mix(before.xy - centre.xy, after.xy - centre.xy, share);
  vec2 low = mix(before.zw - centre.zw, after.zw - centre.zw, share);
  return (high + low) * world;
}

vec4 onScreen(vec2 pixels) {
  return vec4(pixels * vec2(2.0, -2.0) / viewport, 0.0, 1.0);
}

int bucket(float age) {
  return age < 60.0 ? 0 : age < 600.0 ? 1 : age < 3600.0 ? 2 : age < 86400.0 ? 3 : 4;
}
`;

const OFF_SCREEN = "gl_Position = vec4(2.0, 2.0, 2.0, 1.0);";

export const CIRCLE_VERTEX = `${PLACE}
uniform vec3 colours[5];
uniform float smallest;
out vec2 from;
out float radius;
out vec4 colour;
void main() {
  radius = facts.z * world;
  vec2 middle = place();
  float reach = radius + 2.0;
  if (radius < smallest || any(greaterThan(abs(middle) - reach, viewport / 2.0))) { ${OFF_SCREEN} return; }
  from = corner * reach;
  bool silent = facts.w >= 8.0;
  colour = vec4(silent ? colours[4] : colours[bucket(now - facts.y)], silent ? 0.5 : 1.0);
  gl_Position = onScreen(middle + from);
}`;

export const CIRCLE_FRAGMENT = `#version 300 es
precision highp float;
in vec2 from;
in float radius;
in vec4 colour;
uniform float ratio;
out vec4 pixel;
void main() {
  float edge = length(from) - radius;
  float inside = clamp(0.5 - edge * ratio, 0.0, 1.0);
  float rim = clamp(1.2 - abs(edge), 0.0, 1.0);
  pixel = vec4(colour.rgb, 1.0) * max(inside * 0.13, rim * 0.5) * colour.a;
}`;

export const MARKER_VERTEX = `${PLACE}
uniform vec3 colours[5];
uniform float size;
out vec2 from;
flat out int shape;
flat out int silent;
flat out vec3 colour;
void main() {
  vec2 middle = place();
  float reach = size + 4.0;
  if (any(greaterThan(abs(middle) - reach, viewport / 2.0))) { ${OFF_SCREEN} return; }
  from = corner * reach;
  int kind = int(facts.w + 0.5);
  shape = kind % 8;
  silent = kind / 8;
  colour = colours[bucket(now - facts.y)];
  gl_Position = onScreen(middle + from);
}`;

export const MARKER_FRAGMENT = `#version 300 es
precision highp float;
in vec2 from;
flat in int shape;
flat in int silent;
flat in vec3 colour;
uniform float size;
uniform float ratio;
uniform vec3 surface;
uniform vec3 alarm;
uniform vec3 accent;
uniform float chosen;
out vec4 pixel;

float distanceTo(vec2 p, float r) {
  if (shape == 1) return (abs(p.x) + abs(p.y)) * 0.7071 - r * 0.86;
  if (shape == 2) {
    p.y -= r * 0.18;
    return max(abs(p.x) * 0.866 - p.y * 0.5 - r * 0.56, p.y - r * 0.62);
  }
  if (shape == 3) return max(abs(p.x), abs(p.y)) - r * 0.82;
  if (shape == 4) {
    vec2 q = abs(mat2(0.7071, 0.7071, -0.7071, 0.7071) * p);
    return min(max(q.x - r, q.y - r * 0.36), max(q.y - r, q.x - r * 0.36));
  }
  return length(p) - r * 0.95;
}

float cover(float edge) { return clamp(0.5 - edge * ratio, 0.0, 1.0); }

void main() {
  float edge = distanceTo(from, size);
  vec4 ink = silent == 1 ? mix(vec4(surface, 1.0), vec4(alarm, 1.0), cover(-edge - 2.2)) : vec4(colour, 1.0);
  if (silent == 1 && edge < -2.2) ink = vec4(surface, 1.0);
  vec4 body = ink * cover(edge);
  vec4 rim = vec4(surface, 1.0) * cover(edge - min(1.6, size * 0.22));
  pixel = body + rim * (1.0 - body.a);
  if (chosen > 0.5) {
    float ring = cover(abs(edge - 3.2) - 1.1);
    pixel = vec4(accent, 1.0) * ring + pixel * (1.0 - ring);
  }
}`;
