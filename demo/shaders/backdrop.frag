// Light behind the head, dark towards the corners. A grain of one step hides the bands of so soft a gradient.
uniform float aspect;
in vec2 place;
out vec4 frag_color;

const vec3 MIDDLE = vec3(0.235, 0.265, 0.315);
const vec3 CORNER = vec3(0.060, 0.068, 0.088);

void main()
{
    vec2 p = vec2(place.x * aspect, place.y - 0.1) * 0.62;
    float share = clamp(1.0 - dot(p, p), 0.0, 1.0);
    float grain = fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5;
    frag_color = vec4(mix(CORNER, MIDDLE, share * share) + grain / 255.0, 1.0);
}
