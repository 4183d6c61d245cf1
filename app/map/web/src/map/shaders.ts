/** Added to the number of a source. */
export const SILENT = 8;

/** What both programs share: where a device is now, in pixels from the middle of the map. */
const PLACE = `#version 300 es
precision highp float;
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

export const CIRCLE_VERTEX = `${PLACE}
layout(location = 0) in vec2 corner;
uniform vec3 colours[5];
out vec2 from;
out float radius;
out vec4 colour;
void main() {
  radius = facts.z * world;
  vec2 middle = place();
  float reach = radius + 2.0;
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
uniform vec3 alarm;
uniform float reach;
uniform vec2 sprites;  // columns, and the row
flat out vec2 cell;
flat out vec3 colour;
void main() {
  vec2 middle = place();
  float kind = floor(facts.w + 0.5);
  float silent = floor(kind / 8.0);
  float column = mod(kind, 8.0) + silent * sprites.x / 2.0;
  cell = vec2(column, sprites.y) + 0.5;
  colour = silent > 0.0 ? alarm : colours[bucket(now - facts.y)];
  gl_PointSize = 2.0 * reach * ratio;
  gl_Position = onScreen(middle);
}`;

export const MARKER_FRAGMENT = `#version 300 es
precision highp float;
flat in vec2 cell;
flat in vec3 colour;
uniform float share;  // of a sprite that is shown
uniform vec2 sprites;
uniform sampler2D picture;
uniform vec3 surface;
uniform vec3 accent;
out vec4 pixel;
void main() {
  vec3 part = texture(picture, (cell + (gl_PointCoord - 0.5) * share) / vec2(sprites.x, 2.0)).rgb;
  pixel = vec4(colour * part.r + surface * part.g + accent * part.b, part.r + part.g + part.b);
}`;
