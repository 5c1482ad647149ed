// HAL-Net in C++17 with OpenVINO: from a crop to an age and, with OpenCV, from a photo to ages.
// Numbers in parentheses are sections of docs/specification.md. README.md says what is left out.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <filesystem>
#include <iterator>
#include <map>
#include <openvino/openvino.hpp>
#include <sstream>
#ifdef HALNET_OPENCV
#include <opencv2/imgproc.hpp>
#endif

namespace halnet {

constexpr int kSide = 224, kCropBytes = kSide * kSide * 3;  // a crop: rows of RGB pixels
const std::string kFingerprints[] = {"60964a9c2dd01642", "a3eb3c5b8787235a"};
using Error = std::runtime_error;  // thrown for bad input, with a message of one line

// Returns what `call` returns. Errors get one line: the last one of a library says the reason.
template <class Call>
auto in_one_line(const std::string& name, Call call, const std::string& cure = "") {
    try {
        return call();
    } catch (const std::exception& error) {
        std::string text = error.what();
        text.erase(text.find_last_not_of(" \n") + 1);
        throw Error(name + ": " + text.substr(text.rfind('\n') + 1) + cure);
    }
}

// Returns a model that OpenVINO has compiled for the CPU. `prepare` checks and changes it before.
template <class Prepare>
ov::InferRequest compile(const std::string& path, int threads, Prepare prepare) {
    return in_one_line(path, [&] {
        const auto suffix = std::filesystem::path(path).extension();
        if (!std::filesystem::exists(path)) throw Error("there is no such file");
        if (suffix != ".xml" && suffix != ".onnx")
            throw Error("expected an .onnx or .xml file, or a folder with a file halnet.xml");
        ov::Core core;
        const auto model = in_one_line("the file is damaged", [&] { return core.read_model(path); },
                                       "; copy it again, or make it again");
        prepare(*model);
        return core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32),
                                  ov::inference_num_threads(threads)).create_infer_request();
    });
}

struct Age {
    float years, stddev;
    std::vector<float> probabilities;  // 101, of the ages from 0 to 100
};

// (7) From ages to intervals and probabilities, by the metadata halnet.calibration.
struct Calibration {
    std::vector<double> temperature, quantiles, factors, scale;
    explicit Calibration(const std::string& json) {
        const auto read = [&](const std::string& key) -> std::vector<double> {
            const auto found = json.find('"' + key + "\":");  // a number or a list of numbers
            if (found == std::string::npos) return {};
            const auto start = found + key.size() + 3;
            auto text = json.substr(start, json.find_first_of("]}\"", start) - start);
            for (char& c : text) c = c == '[' || c == ',' ? ' ' : c;
            std::istringstream stream(text);
            stream.imbue(std::locale::classic());  // where 0.5 is written with a point
            return {std::istream_iterator<double>(stream), {}};
        };
        temperature = read("temperature"), quantiles = read("quantiles");
        factors = read("age_factors"), scale = read("scale");
        if (temperature.size() != 1 || quantiles.empty() || scale.size() % 4)
            throw Error("halnet.calibration is missing or damaged; export the model again");
    }

    // Returns the lowest and the highest age. `level` is a share, such as 0.9.
    std::array<double, 2> interval(const Age& age, double level) const {
        const double number = std::ceil(std::nearbyint(1e8 * level) / 1e6);
        if (!(number >= 1 && number <= static_cast<double>(quantiles.size())))
            throw Error("level: expected above 0 % and up to " + std::to_string(quantiles.size()) +
                        " %, found " + std::to_string(100 * level) + " %");
        const double x = std::clamp<double>(age.years, 5, 90) / 50 - 1;
        double error = std::max<double>(age.stddev, 0.001);
        if (!scale.empty())
            error = std::pow(error, scale[0]) *
                    std::exp(x * (scale[1] + x * (scale[2] + x * scale[3])));
        error *= quantiles[static_cast<std::size_t>(number) - 1];
        std::array<double, 2> ends{age.years - error, age.years + error};
        if (!factors.empty()) ends = {end(age, error, 0, 1), end(age, error, 1000, -1)};
        return {std::clamp(ends[0], 0.0, 100.0), std::clamp(ends[1], 0.0, 100.0)};
    }

    // Returns the first true age that an error allows, in tenths of a year from `start` on.
    double end(const Age& age, double error, int start, int step) const {
        const auto margin = [&](int tenths) {
            const double place = std::clamp((tenths - 50) / 100.0, 0.0, factors.size() - 1.0);
            const double low = factors[int(place)], high = factors[int(std::ceil(place))];
            const double factor = low + (place - std::floor(place)) * (high - low);
            return error * factor - std::abs(tenths / 10.0 - age.years);
        };
        for (int tenths = start; tenths >= 0 && tenths <= 1000; tenths += step) {
            const double here = margin(tenths);
            if (here < 0) continue;
            const double back = tenths == start ? 0 : here / (here - margin(tenths - step));
            return (tenths - step * back) / 10;
        }
        return age.years;
    }

    // Returns the probability of being `years` old or older.
    double at_least(const Age& age, double years) const {
        double sum = 0, above = 0;
        for (std::size_t year = 0; year < age.probabilities.size(); ++year) {
            const double p = std::max<double>(age.probabilities[year], 1e-12);
            sum += std::pow(p, 1 / temperature[0]);
            if (static_cast<double>(year) >= years) above += std::pow(p, 1 / temperature[0]);
        }
        return above / sum;
    }
};

// (6) A model file: a folder that halnet exported for OpenVINO, its .xml file, or an .onnx file.
struct Model {
    std::shared_ptr<const Calibration> calibration;
    ov::InferRequest request;
    // With `threads` = 0, OpenVINO chooses their number.
    explicit Model(std::string path, int threads = 0) {
        if (std::filesystem::exists(path + "/halnet.xml")) path += "/halnet.xml";
        request = compile(path, threads, [&](ov::Model& model) { prepare(model); });
    }

    // Returns the age for a crop of kCropBytes bytes.
    Age predict(const std::uint8_t* crop) {
        std::copy_n(crop, kCropBytes, request.get_tensor("image").data<std::uint8_t>());
        request.infer();
        const float* p = request.get_tensor("probabilities").data<float>();
        return {*request.get_tensor("age").data<float>(),
                *request.get_tensor("stddev").data<float>(), {p, p + 101}};
    }

    // Checks the metadata, the input and the outputs.
    void prepare(ov::Model& model) {
        const auto text = [&](const std::string& name) -> std::string {
            std::vector<std::string> key{"halnet", name};
            if (!model.has_rt_info(key)) key = {"framework", "halnet." + name};  // of an .onnx file
            return model.has_rt_info(key) ? model.get_rt_info<std::string>(key) : "none";
        };
        const auto version = text("format_version"), found = text("input_fingerprint");
        const std::string cure = "; use halnet export and halnet.hpp of the same version of halnet";
        if (version != "1" && version != "2")
            throw Error("expected a HAL-Net model of format 1 or 2, found " + version + cure);
        if (found != kFingerprints[0] && found != kFingerprints[1])
            throw Error("expected crops with the input fingerprint " + kFingerprints[0] + " or " +
                        kFingerprints[1] + ", found " + found + cure);
        calibration = std::make_shared<Calibration>(text("calibration"));
        std::ostringstream ports;
        for (const auto& in : model.inputs())
            ports << in.get_any_name() << ' ' << in.get_element_type() << in.get_partial_shape();
        for (const auto& out : model.outputs()) ports << ", " << out.get_any_name();
        const std::string start = "image u8[", end = ",224,224,3], age, stddev, probabilities";
        if (ports.str().rfind(start, 0) != 0 || ports.str().find(end) == std::string::npos)
            throw Error("expected " + start + "N" + end + ", found " + ports.str() +
                        "; export with --format openvino or onnx, without --for-compiler");
        model.reshape({{"image", ov::PartialShape{1, kSide, kSide, 3}}});
    }
};

#ifdef HALNET_OPENCV
using Place = std::complex<double>;  // x + i y, in pixels

struct Face {
    cv::Rect2d box;
    std::array<Place, 5> landmarks;  // left and right eye, nose tip, left and right mouth corner
    double score;                    // 0 to 1
};
using Faces = std::multimap<double, Face, std::greater<>>;  // by a number, the largest first

// (2) Returns a smaller picture.
inline cv::Mat shrink(const cv::Mat& picture, double width, double height) {
    cv::Mat small;
    const cv::Size size(std::max(1, cvRound(width)), std::max(1, cvRound(height)));
    cv::resize(picture, small, size, 0, 0, cv::INTER_AREA);
    return small;
}

// (3) Finds faces with YuNet.
struct Detector {
    ov::InferRequest request;
    explicit Detector(const std::string& path, int threads = 0) {
        request = compile(path, threads, [](ov::Model& model) {
            if (model.outputs().size() != 12) throw Error("expected YuNet, found another model");
            model.reshape({{"input", ov::PartialShape{1, 3, -1, -1}}});
        });
    }

    // Returns the faces of an upright BGR photo by the area of the box.
    Faces detect(const cv::Mat& photo) {
        const double scale = std::min(1.0, 640.0 / std::max(photo.cols, photo.rows));
        const cv::Mat small = shrink(photo, photo.cols * scale, photo.rows * scale);
        const double across = 1.0 * photo.cols / small.cols, down = 1.0 * photo.rows / small.rows;
        std::vector<cv::Rect2d> kept;
        Faces faces;
        for (auto [score, face] : find(small)) {
            const cv::Rect2d box = face.box;
            const cv::Rect2d whole(int(box.x), int(box.y), int(box.width), int(box.height));
            const auto is_apart = [&](const cv::Rect2d& other) {
                const double both = (whole & other).area();
                return both / (whole.area() + other.area() - both) <= 0.3;
            };
            if (!std::all_of(kept.begin(), kept.end(), is_apart)) continue;
            kept.push_back(whole);
            if (!is_inside(face, small.size())) continue;
            face.box = {box.x * across, box.y * down, box.width * across, box.height * down};
            for (Place& p : face.landmarks) p = {p.real() * across, p.imag() * down};
            faces.emplace(face.box.area(), face);
        }
        return faces;
    }

    // Returns what looks like a face in a picture of at most 640 pixels, by score.
    Faces find(const cv::Mat& picture) {
        const int height = std::max(64, (picture.rows + 31) / 32 * 32);
        const int width = std::max(64, (picture.cols + 31) / 32 * 32);
        cv::Mat filled = cv::Mat::zeros(height, width, CV_32FC3);
        picture.convertTo(filled(cv::Rect({0, 0}, picture.size())), CV_32F);
        ov::Tensor input(ov::element::f32, ov::PartialShape{1, 3, height, width}.to_shape());
        std::vector<cv::Mat> planes;
        for (int c = 0; c < 3; ++c)
            planes.emplace_back(height, width, CV_32F, input.data<float>() + c * height * width);
        cv::split(filled, planes);
        request.set_tensor("input", input);
        request.infer();
        Faces found;
        for (const int stride : {8, 16, 32}) {
            const auto at = [&](const std::string& name) {
                return request.get_tensor(name + std::to_string(stride)).data<float>();
            };
            const float *cls = at("cls_"), *obj = at("obj_"), *box = at("bbox_"), *kps = at("kps_");
            const int columns = width / stride, places = height / stride * columns;
            for (int n = 0; n < places; ++n, ++cls, ++obj, box += 4, kps += 10) {
                float score = std::sqrt(std::clamp(*cls, 0.f, 1.f) * std::clamp(*obj, 0.f, 1.f));
                if (!(score >= 0.6f)) continue;
                const auto place = [&](const float* p) {
                    return Place(stride * (n % columns + p[0]), stride * (n / columns + p[1]));
                };
                const Place size(stride * std::exp(box[2]), stride * std::exp(box[3]));
                const Place corner = place(box) - size / 2.0;
                Face face{{corner.real(), corner.imag(), size.real(), size.imag()}, {}, score};
                double sum = std::abs(corner) + std::abs(size);  // no number if one of them is none
                for (int k = 0; k < 5; ++k) sum += std::abs(face.landmarks[k] = place(kps + 2 * k));
                if (sum < 1e6) found.emplace(score, face);
            }
        }
        return found;
    }

    // Returns whether a picture of this size can show the face.
    static bool is_inside(const Face& face, const cv::Size2d& size) {
        Place mean;
        double low = 0, high = 1;  // where landmarks are; 0 and 1 are the borders of the picture
        for (const Place p : face.landmarks) {
            const Place share(p.real() / size.width, p.imag() / size.height);
            mean += share / 5.0;
            low = std::min({low, share.real(), share.imag()});
            high = std::max({high, share.real(), share.imag()});
        }
        const double visible = (face.box & cv::Rect2d({0, 0}, size)).area();
        return visible > 0 && visible >= face.box.area() / 2 && low >= -1 && high <= 2 &&
               std::min(mean.real(), mean.imag()) >= 0 && std::max(mean.real(), mean.imag()) <= 1 &&
               std::count(face.landmarks.begin(), face.landmarks.end(), face.landmarks[0]) < 5;
    }
};

// (5) Returns the crop of a face in an upright BGR photo: 224 x 224 RGB.
inline cv::Mat align(cv::Mat photo, const Face& face) {
    const std::array<Place, 5> target{Place(84, 96), {140, 96}, {112, 128}, {89, 161}, {135, 161}};
    const auto mean = [](const auto& p) { return (p[0] + p[1] + p[2] + p[3] + p[4]) / 5.0; };
    const Place p_mean = mean(face.landmarks), q_mean = mean(target);
    Place products, squares;
    for (std::size_t k = 0; k < 5; ++k) {
        products += std::conj(face.landmarks[k] - p_mean) * (target[k] - q_mean);
        squares += std::norm(face.landmarks[k] - p_mean);
    }
    const Place a = products / squares, b = q_mean - a * p_mean;
    cv::Matx23d matrix(a.real(), -a.imag(), b.real(), a.imag(), a.real(), b.imag());
    if (const int times = static_cast<int>(1 / std::abs(a)); times >= 2) {
        const cv::Mat small = shrink(photo, photo.cols / times, photo.rows / times);
        const double x = 1.0 * photo.cols / small.cols, y = 1.0 * photo.rows / small.rows;
        matrix = matrix * cv::Matx33d(x, 0, x / 2 - 0.5, 0, y, y / 2 - 0.5, 0, 0, 1);
        photo = small;
    }
    cv::Mat crop;
    cv::warpAffine(photo, crop, matrix, {kSide, kSide});
    cv::cvtColor(crop, crop, cv::COLOR_BGR2RGB);
    return crop;
}
#endif
}  // namespace halnet
