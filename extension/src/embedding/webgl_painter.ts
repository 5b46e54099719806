import { toRgb } from './palette';
import { Painter, fitCanvas } from './painter';
import { View } from './view';

const VERTEX = `#version 300 es
layout(location = 0) in vec2 position;
layout(location = 1) in uint slot;
uniform vec4 view;
uniform float size;
uniform sampler2D colours;
flat out vec3 colour;
void main() {
  vec4 entry = texelFetch(colours, ivec2(int(slot), 0), 0);
  colour = entry.rgb;
  // The layer, 0 to 2 of 255, as depth: one draw call paints all of them in the right order.
  gl_Position = vec4((position - view.xy) * view.zw, 0.5 - entry.a * 100.0 * 0.5, 1.0);
  gl_PointSize = size;
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
flat in vec3 colour;
uniform bool rounded;
out vec4 painted;
void main() {
  if (rounded && length(gl_PointCoord - 0.5) > 0.5) discard;
  painted = vec4(colour, 1.0);
}`;

/**
 * Points by WebGL2, in one call: a colouring sends one byte a point, a movement two uniforms.
 *
 * `onLost` is called when the browser takes the context away (a graphics card that was reset, too many plots).
 */
export class WebglPainter implements Painter {
  readonly kind = 'webgl';
  readonly canvas = document.createElement('canvas');

  /** Throws where there is no WebGL2. */
  constructor(onLost: () => void) {
    const options = { alpha: false, antialias: false, depth: true, stencil: false };
    const gl = this.canvas.getContext('webgl2', options) as WebGL2RenderingContext | null;
    if (!gl) {
      throw new Error('no WebGL2');
    }
    this._gl = gl;
    this._build();
    this.canvas.addEventListener('webglcontextlost', () => {
      if (!this._disposed) {
        onLost();
      }
    });
  }

  setPoints(xy: Float32Array): void {
    this._xy = xy;
    this._fill(this._positions, xy);
  }

  setColours(slots: Uint8Array, palette: Uint8Array): void {
    const gl = this._gl;
    if (slots !== this._slots) {
      this._fill(this._entries, slots);
    }
    this._slots = slots;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, palette);
  }

  paint(view: View, size: number, ratio: number, background: string, most = Infinity): void {
    const gl = this._gl;
    fitCanvas(this.canvas, view, ratio);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    const [r, g, b] = toRgb(background).map(channel => channel / 255);
    gl.clearColor(r, g, b, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const side = Math.max(1, Math.round(size * ratio));
    const [zx, zy] = [(2 * view.kx) / view.width, (2 * view.ky) / view.height];
    gl.uniform4f(this._uniforms.view, view.cx, view.cy, zx, zy);
    gl.uniform1f(this._uniforms.size, side);
    gl.uniform1i(this._uniforms.rounded, side > 3 ? 1 : 0);
    gl.drawArrays(gl.POINTS, 0, Math.min(this._slots.length, this._xy.length / 2, most));
  }

  finish(): void {
    const gl = this._gl;
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  dispose(): void {
    this._disposed = true;
    // A page has few contexts: it is given back now, not when memory is next collected.
    this._gl.getExtension('WEBGL_lose_context')?.loseContext();
  }

  private _build(): void {
    const gl = this._gl;
    const program = gl.createProgram()!;
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT]
    ] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      throw new Error(gl.getProgramInfoLog(program) ?? 'the shaders do not link');
    }
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    const uniform = (name: string) => gl.getUniformLocation(program, name);
    this._uniforms = { view: uniform('view'), size: uniform('size'), rounded: uniform('rounded') };
    this._positions = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this._positions);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    this._entries = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this._entries);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribIPointer(1, 1, gl.UNSIGNED_BYTE, 0, 0);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  private _fill(buffer: WebGLBuffer | null, values: Float32Array | Uint8Array): void {
    const gl = this._gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  }

  private _gl: WebGL2RenderingContext;
  private _uniforms: Record<'view' | 'size' | 'rounded', WebGLUniformLocation | null> = {
    view: null,
    size: null,
    rounded: null
  };
  private _positions: WebGLBuffer | null = null;
  private _entries: WebGLBuffer | null = null;
  private _disposed = false;
  private _xy = new Float32Array();
  private _slots = new Uint8Array();
}
