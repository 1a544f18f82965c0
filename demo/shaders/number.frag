// Each triangle's number, from 1, as a colour: red counts ones, green 256, blue 65536.
uniform int before;  // number of the first triangle
out vec4 frag_color;

void main()
{
    int number = before + gl_PrimitiveID;
    frag_color = vec4(number & 255, (number >> 8) & 255, number >> 16, 255) / 255.0;
}
