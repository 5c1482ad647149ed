// Prints the age of each face as a line of JSON. README.md beside this file describes its use.
#include "halnet.hpp"

#include <chrono>
#include <fstream>
#include <iomanip>
#include <iostream>
#ifdef HALNET_OPENCV
#include <opencv2/imgcodecs.hpp>
#endif

using halnet::Error;
using Bytes = std::vector<std::uint8_t>;

const std::string kUsage =
    "MODEL CROPS.u8 or MODEL PHOTO YUNET, and as options --level 0.9, --at-least 18, "
    "--threads N, --time N, --help";

struct Option {
    double value, low, high;
};

Bytes read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file || std::filesystem::is_directory(path))
        throw Error(path + ": cannot be read; expected a file that exists and that you may read");
    return {std::istreambuf_iterator<char>(file), {}};
}

#ifdef HALNET_OPENCV
// Returns whether a JPEG file has the marker at its end. OpenCV would fill lost rows with gray.
bool has_end(const Bytes& jpeg) {
    std::size_t at = 2;  // segments, of which one may have a preview, come before the pixels
    while (at + 4 < jpeg.size() && jpeg[at + 1] != 0xDA)
        at += 2 + 256u * jpeg[at + 2] + jpeg[at + 3];
    for (; at + 1 < jpeg.size(); ++at)
        if (jpeg[at] == 0xFF && jpeg[at + 1] == 0xD9) return true;
    return false;
}

// Returns an upright photo, 8-bit BGR.
cv::Mat read_photo(const std::string& path) {
    const Bytes data = read_file(path);
    const bool is_jpeg = data.size() > 2 && data[0] == 0xFF && data[1] == 0xD8;
    cv::Mat photo;
    if (is_jpeg ? has_end(data) : !data.empty()) photo = cv::imdecode(data, cv::IMREAD_COLOR);
    if (photo.empty()) throw Error(path + ": expected a photo, found what OpenCV cannot decode");
    return photo;
}
#endif

template <class Values>
std::string json(const Values& values) {
    std::ostringstream text;
    for (const auto value : values) text << ", " << std::setprecision(9) << value;
    return '[' + text.str().substr(2) + ']';
}

// Returns the median time of a crop in milliseconds.
double measure(halnet::Model& model, const std::uint8_t* crop, std::size_t repeats) {
    std::vector<double> times(repeats);
    for (double& time : times) {
        const auto start = std::chrono::steady_clock::now();
        model.predict(crop);
        time = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    std::sort(times.begin(), times.end());
    return 1000 * times[repeats / 2];
}

// Returns the exit status.
int run(const std::vector<std::string>& words) {
    std::map<std::string, Option> options{{"--level", {0.9, 0.01, 0.99}},
                                          {"--at-least", {18, 0, 100}},
                                          {"--threads", {0, 0, 1024}},
                                          {"--time", {0, 0, 1024}}};
    std::vector<std::string> files;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& name = words[i];
        if (name.rfind("--", 0) != 0) {
            files.push_back(name);
            continue;
        }
        if (name == "--help") {
            std::cout << "usage: halnet_cpp " << kUsage << '\n';
            return 0;
        }
        if (options.count(name) == 0)
            throw Error(name + ": there is no such option; expected " + kUsage);
        std::istringstream text(++i < words.size() ? words[i] : "nothing");
        auto& [value, low, high] = options[name];
        if (!(text >> value && text.eof() && value >= low && value <= high)) {
            std::ostringstream range;
            range << low << " to " << high;
            throw Error(name + ": expected a number from " + range.str() + ", found " + text.str());
        }
    }
    if (files.size() < 2 || files.size() > 3) throw Error("expected " + kUsage);
    const int threads = static_cast<int>(options["--threads"].value);
    halnet::Model model(files[0], threads);
    const auto print = [&](const std::uint8_t* crop, const std::string& place) {
        const halnet::Age age = model.predict(crop);
        const auto interval = model.calibration->interval(age, options["--level"].value);
        const double at_least = model.calibration->at_least(age, options["--at-least"].value);
        std::cout << std::setprecision(9) << "{\"age\": " << age.years
                  << ", \"stddev\": " << age.stddev << ", \"interval\": " << json(interval)
                  << ", \"at_least\": " << at_least << place
                  << ", \"probabilities\": " << json(age.probabilities) << "}\n";
        if (const auto repeats = static_cast<std::size_t>(options["--time"].value))
            std::cerr << measure(model, crop, repeats) << " ms for a crop\n";
    };
    if (files.size() == 2) {
        const auto crops = read_file(files[1]);
        if (crops.empty() || crops.size() % halnet::kCropBytes)
            throw Error(files[1] + ": expected 224 x 224 x 3 = 150528 bytes for each crop, found " +
                        std::to_string(crops.size()) +
                        " bytes; for a photo, name the file of YuNet as the third argument");
        for (std::size_t at = 0; at < crops.size(); at += halnet::kCropBytes) print(&crops[at], "");
        return 0;
    }
#ifdef HALNET_OPENCV
    const cv::Mat photo = read_photo(files[1]);
    const auto faces = halnet::Detector(files[2], threads).detect(photo);
    for (const auto& [area, face] : faces) {
        const std::array box{face.box.x, face.box.y, face.box.width, face.box.height};
        print(halnet::align(photo, face).data, ", \"box\": " + json(box));
    }
    if (faces.empty()) std::cerr << "halnet_cpp: " << files[1] << ": no face was found\n";
    return faces.empty() ? 1 : 0;
#else
    throw Error(files[1] + ": expected crops; without OpenCV, this program reads no photos; "
                "build it with -DHALNET_OPENCV=ON");
#endif
}

int main(int count, char** words) {
    try {
        return halnet::in_one_line("halnet_cpp", [&] { return run({words + 1, words + count}); });
    } catch (const Error& error) {
        std::cerr << error.what() << '\n';
        return 2;
    }
}
