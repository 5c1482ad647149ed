// HAL-Net in C++17 with OpenVINO: from a crop to an age and, with OpenCV, from a photo to ages.
//
// The numbers in parentheses are those of the sections of docs/specification.md. Its section 4
// (turned faces) is left out, and a photo is always decoded in full size.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <openvino/openvino.hpp>
#include <sstream>
#ifdef HALNET_OPENCV
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#endif

namespace halnet {

using Numbers = std::vector<double>;

constexpr std::size_t kSide = 224;                     // pixels: width and height of a crop
constexpr std::size_t kCropBytes = kSide * kSide * 3;  // a crop is RGB
constexpr std::size_t kAges = 101;                     // 0 to 100 years
const std::string kFingerprints[] = {"a3eb3c5b8787235a", "60964a9c2dd01642"};

// What is thrown for bad input. The message is one line.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Returns what `call` returns. If a library throws an error, its last line says the reason.
template <class Call>
auto in_one_line(const std::string& message, Call call) {
    try {
        return call();
    } catch (const std::exception& error) {
        std::string text = error.what();
        text.erase(text.find_last_not_of(" \n") + 1);
        throw Error(message + ": " + text.substr(text.rfind('\n') + 1));
    }
}

inline std::vector<std::uint8_t> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file || std::filesystem::is_directory(path)) throw Error(path + ": cannot be read");
    return {std::istreambuf_iterator<char>(file), {}};
}

// Returns a model that OpenVINO has compiled for the CPU. `prepare` checks and changes it before.
template <class Prepare>
ov::InferRequest compile(const std::string& path, int threads, Prepare prepare) {
    if (!std::filesystem::exists(path)) throw Error(path + ": there is no such file");
    ov::Core core;
    const auto read = [&] { return core.read_model(path); };
    const auto model = in_one_line(path + ": OpenVINO cannot read it", read);
    prepare(*model);
    ov::AnyMap config{ov::hint::inference_precision(ov::element::f32)};
    if (threads) config.insert(ov::inference_num_threads(threads));
    return in_one_line(path + ": OpenVINO cannot compile it", [&] {
        return core.compile_model(model, "CPU", config).create_infer_request();
    });
}

// (6) The age of a face.
struct Age {
    float years, stddev;
    std::vector<float> probabilities;  // of the ages 0 to 100
};

// (7) Turns ages into intervals and probabilities, by the metadata `halnet.calibration`.
struct Calibration {
    Numbers temperature, quantiles, factors, scale;

    // Returns the number, or the list of numbers, that JSON which halnet wrote has for a key.
    static Numbers read(const std::string& json, const std::string& key) {
        const auto found = json.find('"' + key + "\":");
        if (found == std::string::npos) return {};
        const auto start = found + key.size() + 3;
        auto text = json.substr(start, json.find_first_of("]}\"", start) - start);
        std::replace_if(text.begin(), text.end(), [](char c) { return c == '[' || c == ','; }, ' ');
        std::istringstream stream(text);
        stream.imbue(std::locale::classic());  // 0.5 has a point, whatever the user's language
        return {std::istream_iterator<double>(stream), {}};
    }

    explicit Calibration(const std::string& json)
        : temperature(read(json, "temperature")), quantiles(read(json, "quantiles")),
          factors(read(json, "age_factors")), scale(read(json, "scale")) {
        if (temperature.size() != 1 || quantiles.empty() || scale.size() % 4)
            throw Error("halnet.calibration is missing or damaged");
    }

    // Returns the lowest and the highest age. `level` is a share, such as 0.9.
    std::array<double, 2> interval(const Age& age, double level) const {
        const auto number = static_cast<std::size_t>(std::ceil(std::nearbyint(1e8 * level) / 1e6));
        if (!(level > 0 && number <= quantiles.size()))
            throw Error("level: expected a share above 0, up to the " +
                        std::to_string(quantiles.size()) + " % that the model is calibrated for");
        const double x = std::clamp<double>(age.years, 5, 90) / 50 - 1;
        double error = std::max<double>(age.stddev, 0.001);
        if (!scale.empty())
            error = std::pow(error, scale[0]) *
                    std::exp(x * (scale[1] + x * (scale[2] + x * scale[3])));
        error *= quantiles[number - 1];
        if (factors.empty())
            return {std::max(age.years - error, 0.0), std::min(age.years + error, 100.0)};
        return {end(age.years, error, 0, 1), end(age.years, error, 1000, -1)};
    }

    // Returns the first true age that is allowed, in steps of tenths of a year from `start` on.
    double end(double age, double error, int start, int step) const {
        const auto margin = [&](int tenths) {
            const double last = static_cast<double>(factors.size() - 1);
            const double at = std::clamp((tenths - 50) / 100.0, 0.0, last);
            const auto low = static_cast<std::size_t>(at), high = static_cast<std::size_t>(std::ceil(at));
            const double factor = factors[low] + (at - std::floor(at)) * (factors[high] - factors[low]);
            return error * factor - std::abs(tenths / 10.0 - age);
        };
        for (int tenths = start; tenths >= 0 && tenths <= 1000; tenths += step) {
            const double here = margin(tenths);
            if (here < 0) continue;
            const double back = tenths == start ? 0 : here / (here - margin(tenths - step));
            return (tenths - step * back) / 10;
        }
        return std::clamp(age, 0.0, 100.0);
    }

    // Returns the probability of being `years` (0 to 100) old or older.
    double at_least(const Age& age, std::size_t years) const {
        double sum = 0, above = 0;
        for (std::size_t year = 0; year < kAges; ++year) {
            const double p = std::max<double>(age.probabilities[year], 1e-12);
            sum += std::pow(p, 1 / temperature[0]);
            if (year >= years) above += std::pow(p, 1 / temperature[0]);
        }
        return above / sum;
    }
};

// (6) A model file: a folder that halnet exported for OpenVINO, its .xml file, or an .onnx file.
struct Model {
    std::unique_ptr<const Calibration> calibration;
    ov::InferRequest request;

    // With `threads` = 0, OpenVINO chooses their number.
    explicit Model(std::string path, int threads = 0) {
        if (std::filesystem::is_directory(path)) path += "/halnet.xml";
        request = compile(path, threads, [&](ov::Model& model) {
            // OpenVINO puts the metadata of an ONNX file into "framework".
            const auto text = [&](const std::string& name) -> std::string {
                const std::vector<std::string> own{"halnet", name}, onnx{"framework", "halnet." + name};
                const auto& key = model.has_rt_info(own) ? own : onnx;
                return model.has_rt_info(key) ? model.get_rt_info<std::string>(key) : "";
            };
            const auto version = text("format_version"), fingerprint = text("input_fingerprint");
            if (version != "1" && version != "2")
                throw Error(path + ": expected a HAL-Net model of format version 1 or 2, found " +
                            (version.empty() ? "no halnet.* metadata" : version) +
                            "; make one with halnet export");
            if (fingerprint != kFingerprints[0] && fingerprint != kFingerprints[1])
                throw Error(path + ": expected crops with the input fingerprint " + kFingerprints[0] +
                            " or " + kFingerprints[1] + ", found " + fingerprint +
                            "; the model needs other crops than this program makes");
            in_one_line(path, [&] {
                calibration = std::make_unique<Calibration>(text("calibration"));
                model.reshape({{"image", ov::PartialShape{1, kSide, kSide, 3}}});
            });
        });
    }

    // Returns the age for a crop of 224 x 224 x 3 bytes, RGB.
    Age predict(const std::uint8_t* crop) {
        std::copy_n(crop, kCropBytes, request.get_tensor("image").data<std::uint8_t>());
        request.infer();
        const auto output = [&](const char* name) { return request.get_tensor(name).data<float>(); };
        const float* p = output("probabilities");
        return {*output("age"), *output("stddev"), {p, p + kAges}};
    }
};

#ifdef HALNET_OPENCV

using Place = std::complex<double>;  // x + i y, in pixels of the photo

struct Face {
    cv::Rect2d box;
    std::array<Place, 5> landmarks;  // left and right eye, nose tip, left and right mouth corner
    double score = 0;                // 0 to 1
};

// (1) Returns the upright photo of a file, 8-bit BGR.
inline cv::Mat read_photo(const std::string& path) {
    const auto data = read_file(path);
    cv::Mat photo;
    try {
        if (!data.empty()) photo = cv::imdecode(data, cv::IMREAD_COLOR);
    } catch (const cv::Exception&) {  // such as a photo that is too large
    }
    if (photo.empty()) throw Error(path + ": expected a photo, found what OpenCV cannot decode");
    return photo;
}

// (3) Finds faces with YuNet.
struct Detector {
    ov::InferRequest request;

    explicit Detector(const std::string& path, int threads = 0)
        : request(compile(path, threads, [&](ov::Model& model) {
              in_one_line(path + ": expected the face detector YuNet", [&] {
                  model.reshape({{"input", ov::PartialShape{1, 3, -1, -1}}});
                  model.output("kps_32");
              });
          })) {}

    // Returns the faces of an upright BGR photo, the largest first.
    std::vector<Face> detect(const cv::Mat& photo) {
        cv::Mat small = photo;
        const double factor = 640.0 / std::max(photo.cols, photo.rows);
        const auto shrunk = [&](int side) { return std::max(1, cvRound(side * factor)); };
        const cv::Size size(shrunk(photo.cols), shrunk(photo.rows));
        if (factor < 1) cv::resize(photo, small, size, 0, 0, cv::INTER_AREA);
        std::vector<Face> kept, faces;
        for (const Face& face : find(small)) {
            const auto is_apart = [&](const Face& other) { return overlap(face, other) <= 0.3; };
            if (std::all_of(kept.begin(), kept.end(), is_apart)) kept.push_back(face);
        }
        const double across = 1.0 * photo.cols / small.cols, down = 1.0 * photo.rows / small.rows;
        for (Face& face : kept) {
            if (!is_inside(face, small.size())) continue;
            cv::Rect2d& box = face.box;
            box = {box.x * across, box.y * down, box.width * across, box.height * down};
            for (Place& p : face.landmarks) p = {p.real() * across, p.imag() * down};
            faces.push_back(face);
        }
        sort_by(faces, [](const Face& face) { return face.box.area(); });
        return faces;
    }

    // Returns all places of a picture of at most 640 pixels with a high score, the highest first.
    std::vector<Face> find(const cv::Mat& picture) {
        const int height = std::max(64, (picture.rows + 31) / 32 * 32);
        const int width = std::max(64, (picture.cols + 31) / 32 * 32);
        cv::Mat filled = cv::Mat::zeros(height, width, CV_8UC3);
        picture.copyTo(filled({0, 0, picture.cols, picture.rows}));
        filled.convertTo(filled, CV_32F);
        const auto size = [](int side) { return static_cast<std::size_t>(side); };
        ov::Tensor input(ov::element::f32, {1, 3, size(height), size(width)});
        std::vector<cv::Mat> planes;
        for (int c = 0; c < 3; ++c)
            planes.emplace_back(height, width, CV_32F, input.data<float>() + c * height * width);
        cv::split(filled, planes);
        request.set_tensor("input", input);
        request.infer();
        std::vector<Face> faces;
        for (int stride : {8, 16, 32}) {
            const auto output = [&](const char* name) {
                return request.get_tensor(name + std::to_string(stride)).data<float>();
            };
            const float *cls = output("cls_"), *obj = output("obj_");
            const float *box = output("bbox_"), *kps = output("kps_");
            const int columns = width / stride, places = columns * (height / stride);
            for (int n = 0; n < places; ++n, box += 4, kps += 10) {
                Face face;
                face.score = std::sqrt(std::clamp(cls[n], 0.f, 1.f) * std::clamp(obj[n], 0.f, 1.f));
                const Place corner(n % columns, n / columns);
                const Place middle = 1.0 * stride * (corner + Place(box[0], box[1]));
                const double w = stride * std::exp(box[2]), h = stride * std::exp(box[3]);
                face.box = {middle.real() - w / 2, middle.imag() - h / 2, w, h};
                bool is_place = std::abs(middle) < 1e6 && w < 1e6 && h < 1e6;
                for (std::size_t k = 0; k < 5; ++k) {
                    face.landmarks[k] = 1.0 * stride * (corner + Place(kps[2 * k], kps[2 * k + 1]));
                    is_place = is_place && std::abs(face.landmarks[k]) < 1e6;
                }
                if (face.score >= 0.6f && is_place) faces.push_back(face);
            }
        }
        sort_by(faces, [](const Face& face) { return face.score; });
        return faces;
    }

    template <class Key>
    static void sort_by(std::vector<Face>& faces, Key key) {
        std::stable_sort(faces.begin(), faces.end(),
                         [&](const Face& a, const Face& b) { return key(a) > key(b); });
    }

    // Returns the intersection over union of the boxes, in whole pixels.
    static double overlap(const Face& first, const Face& second) {
        const auto whole = [](const cv::Rect2d& box) {
            return cv::Rect2d(std::trunc(box.x), std::trunc(box.y), std::trunc(box.width),
                              std::trunc(box.height));
        };
        const auto a = whole(first.box), b = whole(second.box);
        return (a & b).area() / (a.area() + b.area() - (a & b).area());
    }

    // Returns whether a picture of this size can show the face.
    static bool is_inside(const Face& face, const cv::Size2d& size) {
        const auto visible = face.box & cv::Rect2d({0, 0}, size);
        Place mean = 0;
        for (Place p : face.landmarks) {
            p = {p.real() / size.width, p.imag() / size.height};
            mean += p / 5.0;
            if (std::min(p.real(), p.imag()) < -1 || std::max(p.real(), p.imag()) > 2) return false;
        }
        return visible.area() > 0 && visible.area() >= face.box.area() / 2 &&
               std::min(mean.real(), mean.imag()) >= 0 && std::max(mean.real(), mean.imag()) <= 1 &&
               std::count(face.landmarks.begin(), face.landmarks.end(), face.landmarks[0]) < 5;
    }
};

// (5) Returns the crop of a face in an upright BGR photo, 224 x 224 RGB.
inline cv::Mat align(cv::Mat photo, const Face& face) {
    constexpr std::array<Place, 5> kTemplate{{{84, 96}, {140, 96}, {112, 128}, {89, 161}, {135, 161}}};
    Place p_mean, q_mean, a;
    double spread = 0;
    for (std::size_t k = 0; k < 5; ++k) {
        p_mean += face.landmarks[k] / 5.0;
        q_mean += kTemplate[k] / 5.0;
    }
    for (std::size_t k = 0; k < 5; ++k) {
        a += std::conj(face.landmarks[k] - p_mean) * (kTemplate[k] - q_mean);
        spread += std::norm(face.landmarks[k] - p_mean);
    }
    a /= spread;
    const Place b = q_mean - a * p_mean;
    cv::Matx23d matrix(a.real(), -a.imag(), b.real(), a.imag(), a.real(), b.imag());
    const int times = static_cast<int>(1 / std::abs(a));
    if (times >= 2) {
        const cv::Size whole = photo.size();
        const cv::Size size(std::max(1, whole.width / times), std::max(1, whole.height / times));
        cv::resize(photo, photo, size, 0, 0, cv::INTER_AREA);
        const double x = 1.0 * whole.width / size.width, y = 1.0 * whole.height / size.height;
        matrix = matrix * cv::Matx33d(x, 0, x / 2 - 0.5, 0, y, y / 2 - 0.5, 0, 0, 1);
    }
    cv::Mat crop;
    cv::warpAffine(photo, crop, matrix, {kSide, kSide});
    cv::cvtColor(crop, crop, cv::COLOR_BGR2RGB);
    return crop;
}

#endif

}  // namespace halnet
