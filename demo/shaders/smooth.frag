// Softens staircases: where brightness jumps, colours are averaged along the edge. A fifth of what multisampling costs a
// processor.
uniform vec4 texel;  // width and height of one pixel of the image
uniform sampler2D image;
out vec4 frag_color;

const vec3 BRIGHTNESS = vec3(0.30, 0.59, 0.11);
const float REACH = 1.5;  // pixels along the edge

float brightness(ivec2 place)
{
    return dot(texelFetch(image, place, 0).rgb, BRIGHTNESS);
}

void main()
{
    ivec2 here = ivec2(gl_FragCoord.xy);
    float left_below = brightness(here + ivec2(-1, -1)), right_below = brightness(here + ivec2(1, -1));
    float left_above = brightness(here + ivec2(-1, 1)), right_above = brightness(here + ivec2(1, 1));
    float rising = left_above + right_above - left_below - right_below;
    float to_right = right_below + right_above - left_below - left_above;
    float contrast = abs(rising) + abs(to_right);
    vec2 along = vec2(-rising, to_right) * (REACH / max(length(vec2(rising, to_right)), 0.001));
    vec2 uv = gl_FragCoord.xy * texel.xy;
    vec3 color = texelFetch(image, here, 0).rgb;
    vec3 mean = texture(image, uv + along * texel.xy).rgb + texture(image, uv - along * texel.xy).rgb;
    frag_color = vec4(mix(color, 0.25 * mean + 0.5 * color, smoothstep(0.06, 0.25, contrast)), 1.0);
}
