// Skin, eyes, hair and cloth under three directional lights and a sky.
const int LIGHTS = 3;
uniform vec3 to_light[LIGHTS];
uniform vec3 radiance[LIGHTS];
uniform vec3 cam_pos;
uniform vec3 ambient_light;

const vec3 WRAP = vec3(0.30, 0.18, 0.14);  // light creeps round edges, red furthest, as in skin
const vec3 GROUND = vec3(0.55, 0.45, 0.42);  // what comes from below, as a share of the sky's light

vec3 to_srgb(vec3 linear)
{
    return clamp(1.055 * pow(max(linear, 0.00308), vec3(1.0 / 2.4)) - 0.055, 0.0, 1.0);
}

// material: roughness, and 1 for a sheet that is seen from both sides.
vec3 lit(vec3 position, vec3 normal, vec3 albedo, vec2 material)
{
    float roughness = material.x;
    vec3 view = normalize(cam_pos - position);
    vec3 n = normalize(normal);
    n = material.y * dot(n, view) < 0.0 ? -n : n;

    vec3 diffuse = ambient_light * mix(GROUND, vec3(1.0), 0.5 + 0.5 * n.y);
    vec3 highlight = vec3(0.0);
    float sharpness = 2.0 / (roughness * roughness * roughness * roughness + 0.0005) - 2.0;
    float edge = 1.0 - max(dot(n, view), 0.0);
    float shine = roughness < 0.99 ? 1.0 : 0.0;  // nothing shines in a mouth or under hair
    float fresnel = 0.04 + 0.25 * edge * edge * edge * edge * (1.0 - roughness);
    for (int i = 0; i < LIGHTS; i++) {
        float facing = dot(n, to_light[i]);
        diffuse += radiance[i] * max((vec3(facing) + WRAP) / (1.0 + WRAP), 0.0);
        float half_way = max(dot(n, normalize(to_light[i] + view)), 0.0);
        highlight += radiance[i] * (pow(half_way, sharpness) * max(facing, 0.0));
    }
    return to_srgb(albedo * diffuse + highlight * (shine * fresnel * (sharpness + 8.0) * 0.125));
}
