/** A compiled pair of shaders, with its uniforms by name. */
export class Program {
  readonly #uniforms = new Map<string, WebGLUniformLocation | null>();
  readonly #program: WebGLProgram;

  constructor(
    private readonly gl: WebGL2RenderingContext,
    vertex: string,
    fragment: string,
  ) {
    this.#program = gl.createProgram();
    for (const [type, source] of [
      [gl.VERTEX_SHADER, vertex],
      [gl.FRAGMENT_SHADER, fragment],
    ] as const) {
      const shader = gl.createShader(type);
      if (shader === null) throw new Error("The graphics context is lost.");
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.#program, shader);
    }
    gl.linkProgram(this.#program);
    if (!gl.getProgramParameter(this.#program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(gl.getProgramInfoLog(this.#program) ?? "The shaders do not fit together.");
    }
  }

  use(): void {
    this.gl.useProgram(this.#program);
  }

  /** Set a uniform: a number, or up to four of them; names that the shaders do not use are left out. */
  set(name: string, ...values: readonly number[]): void {
    const { gl } = this;
    const place = this.#place(name);
    if (values.length === 1) gl.uniform1fv(place, values);
    if (values.length === 2) gl.uniform2fv(place, values);
    if (values.length === 3) gl.uniform3fv(place, values);
    if (values.length === 4) gl.uniform4fv(place, values);
  }

  /** Set an array of colours. */
  setColours(name: string, colours: readonly number[]): void {
    this.gl.uniform3fv(this.#place(name), colours);
  }

  #place(name: string): WebGLUniformLocation | null {
    if (!this.#uniforms.has(name)) this.#uniforms.set(name, this.gl.getUniformLocation(this.#program, name));
    return this.#uniforms.get(name) ?? null;
  }
}
