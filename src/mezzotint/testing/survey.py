"""The survey against the code: the table of docs/survey.md, one row an idea, with what implements it and what holds it.

`python -m mezzotint.testing.survey > docs/survey.md` writes the page. The survey is Moser et al., "Diffusion Models,
Image Super-Resolution and Everything", arXiv 2401.00736. Chapters are numbered as in the table of methods and equations
go by their content, as versions of the survey number both differently. A test fails when a row has neither function nor
test, when what it names does not exist, and when a row marked "not yet" exists by now.
"""

from __future__ import annotations

import importlib
import importlib.util
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from mezzotint import methods

COMMAND = "python -m mezzotint.testing.survey > docs/survey.md"

SECTIONS = {
    "2": "Super-resolution: degradations, earlier methods, measures",
    "3": "What diffusion models are",
    "4.1": "Efficient sampling",
    "4.2": "Guidance",
    "4.3": "State domains",
    "4.4": "Conditioning",
    "4.5": "Corruption spaces",
    "4.6": "Colour shift",
    "5": "Zero-shot super-resolution",
}
"""The chapters of the page, in order, numbered as `survey_section` in the table of methods."""

_INTRODUCTION = (
    f"Written by `{COMMAND}`. Each row is an idea of Moser et al., *Diffusion Models, Image Super-Resolution and "
    "Everything* (arXiv 2401.00736), in its notation: y the large picture, x the small one, z a state, gamma the "
    "signal power, alpha the variance that one step adds. *Read* says how a formula or a sentence must be read where "
    "it is passed on with a mistake: that of SR3's step seems to be in the survey itself, the others were met in "
    "summaries of it and may not be its own. *Not yet* stands where the chapter has work left. Chapters are numbered "
    "as in the table of methods; versions of the survey number them differently. A test holds the page to the code."
)


@dataclass(frozen=True)
class Idea:
    """One row: an idea of the survey.

    section: a chapter of `SECTIONS`.
    functions: "module:name" of what implements it; with `not_yet`, a module or "module:name" that will.
    tests: "tests/...::test_name" of what holds it.
    methods: the rows of the table of methods that are this idea; with `not_yet`, those that will be.
    erratum: how it must be read, where it is passed on with a mistake.
    not_yet: the chapter of `SECTIONS` that brings it, "" where it exists.
    """

    section: str
    name: str
    functions: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    erratum: str = ""
    not_yet: str = ""


def _at(section: str, name: str, *places: str, methods: tuple[str, ...] = (), erratum: str = "") -> Idea:
    """A row that exists; places that start with "tests/" are tests, others functions of the package."""
    functions = tuple(f"mezzotint.{place}" for place in places if not place.startswith("tests/"))
    tests = tuple(place for place in places if place.startswith("tests/"))
    return Idea(section, name, functions, tests, methods, erratum)


def _later(section: str, name: str, *places: str, methods: tuple[str, ...] = (), erratum: str = "") -> Idea:
    """A row that does not exist yet."""
    return Idea(section, name, tuple(f"mezzotint.{place}" for place in places), (), methods, erratum, section)


IDEAS: tuple[Idea, ...] = (
    # 2: super-resolution.
    _at(
        "2",
        "Degradation of a picture: x = D(y)",
        "operators.degradation:degrade",
        "tests/operators/test_degradation.py::test_bicubic_of_8_bit_pictures_is_matlab_to_the_bit",
    ),
    _at(
        "2",
        "Data sets, their official splits and pairs",
        "data.sets:read",
        "tests/data/test_sets.py::test_div2k",
        "tests/data/test_sets.py::test_realsr",
    ),
    _at(
        "2",
        "Training pairs: crops, flips and rotations, small pictures shipped or made on the way",
        "data.stream:Stream",
        "data.crops:draw",
        "tests/data/test_stream.py::test_files_give_the_batches_of_pictures_in_memory",
        "tests/data/test_stream.py::test_areas_turns_and_places_are_drawn_evenly",
    ),
    _at(
        "2",
        "Blur of the small picture as an augmentation (SR3, cascades)",
        "data.crops:Blur",
        "tests/data/test_stream.py::test_blur_is_the_gaussian_and_hits_its_share",
    ),
    _at(
        "2",
        "Bicubic reduction, with antialiasing",
        "operators.resize:imresize",
        "tests/operators/test_resize.py::test_float_equals_matlab_at_x8",
    ),
    _at(
        "2",
        "The reduction as a linear operator with adjoint and pseudo-inverse",
        "operators.bicubic:BicubicDown",
        "tests/operators/test_bicubic.py::test_algebra",
    ),
    _at(
        "2",
        "Any known reduction with its singular values: resizing, blur and decimation, masks, grey, several pictures",
        "operators.linear:LinearOperator",
        "operators.separable:Separable",
        "operators.blur:CircularBlur",
        "operators.composed:chain",
        "tests/operators/test_linear.py::test_passes_every_check",
        "tests/operators/test_linear.py::test_equals_dense_matrices",
    ),
    _at(
        "2",
        "Blur, reduction, noise and compression: x = ((y * k) down_s + n)_JPEG",
        "operators.stages:Degradation",
        "operators.kernels:BlurKernel",
        "operators.added_noise:PoissonNoise",
        "operators.jpeg:DifferentiableJpeg",
        "tests/operators/test_kernels.py::test_moments_of_a_gaussian_are_its_covariance",
        "tests/operators/test_stages.py::test_photon_counts_are_quantiles_of_poissons_distribution",
        "tests/operators/test_jpeg.py::test_grey_agrees_with_libjpeg_and_the_transposed_table_does_not",
    ),
    _at(
        "2",
        "Unknown degradations for training: BSRGAN and Real-ESRGAN",
        "operators.presets:PRESETS",
        "tests/operators/test_presets.py::test_bsrgans_order_and_ranges",
        "tests/operators/test_presets.py::test_real_esrgans_kernels",
    ),
    _at(
        "2",
        "Blind: a degradation estimated from the small picture",
        "operators.estimate:blur_width",
        "operators.estimate:noise_level",
        "tests/operators/test_estimate.py::test_blur_of_set14_within_15_percent",
        "tests/operators/test_estimate.py::test_noise_of_set14_within_10_percent",
    ),
    _at(
        "2",
        "Interpolation",
        "baselines.interpolation:Bicubic",
        "tests/baselines/test_interpolation.py::test_bicubic_is_matlabs",
        "tests/baselines/test_interpolation.py::test_lanczos_weights_are_the_closed_form",
        methods=("nearest", "bicubic", "lanczos"),
    ),
    _at(
        "2",
        "Iterative back-projection",
        "baselines.back_projection:BackProjection",
        "tests/baselines/test_back_projection.py::test_equals_the_iteration_on_large_pictures",
        methods=("back-projection",),
    ),
    _later(
        "2",
        "Edges, gradients, dictionaries and sparse coding",
        methods=("nedi", "gradient-prior", "anr", "aplus", "scsr"),
    ),
    _at(
        "2",
        "Regression by a network",
        "baselines.regression:build_span",
        "tests/networks/test_span.py::test_the_published_network_has_150688_parameters",
        "tests/baselines/test_regression.py::test_it_is_the_mean_of_the_model",
        methods=("span",),
    ),
    _later("2", "Earlier regression networks", methods=("srcnn", "fsrcnn", "espcn", "edsr", "rcan")),
    _later("2", "Adversarial training", methods=("srgan", "esrgan")),
    _later(
        "2",
        "Flow methods",
        methods=("srflow",),
        erratum="flows are normalizing flows, invertible networks with a change of variables; nothing of optical flow",
    ),
    _at(
        "2",
        "PSNR",
        "quality.psnr:psnr",
        "tests/quality/test_psnr.py::test_equals_scikit_image_inside_the_border",
    ),
    _at(
        "2",
        "SSIM",
        "quality.ssim:ssim",
        "quality.ssim:ms_ssim",
        "tests/quality/test_ssim.py::test_equals_scikit_image",
        "tests/quality/test_ssim.py::test_maps_are_the_three_factors_of_the_paper",
        erratum="contrast compares the deviations, S(sigma_y, sigma_y_hat, c2), and sigma is the root of the variance; "
        "statistics are local, under a Gaussian window, and the map is averaged",
    ),
    _at(
        "2",
        "LPIPS",
        "quality.lpips:lpips",
        "tests/quality/test_lpips.py::test_follows_the_definition",
        erratum="features are normalised to unit length at every position first, and come from the layers of one "
        "network on both large pictures",
    ),
    _at(
        "2",
        "Mean opinion scores",
        "quality.opinions:mean_opinions",
        "quality.opinions:fit_subjects",
        "tests/quality/opinions/test_ratings.py::test_published_means",
        "tests/quality/opinions/test_ratings.py::test_published_example_of_p910",
    ),
    _at(
        "2",
        "Real or generated: the fool rate",
        "quality.opinions:fool_rates",
        "tests/quality/opinions/test_choices.py::test_shares_and_wilson",
    ),
    _at(
        "2",
        "Agreement with the small picture, in decibels and as SR3 prints it",
        "quality.consistency:lr_psnr",
        "quality.consistency:consistency",
        "tests/quality/test_consistency.py::test_sr3_figures_in_decibels",
    ),
    _at(
        "2",
        "Measures of sets: FID and KID",
        "quality.inception:fid",
        "quality.inception:kid",
        "tests/quality/test_frechet.py::test_closed_forms_of_gaussians",
        "tests/quality/test_inception.py::test_features_are_those_of_pytorch_fid",
    ),
    _at(
        "2",
        "Structure and texture (DISTS), naturalness without a reference (NIQE)",
        "quality.dists:dists",
        "quality.niqe:niqe",
        "tests/quality/test_dists.py::test_follows_the_definition",
        "tests/quality/test_niqe.py::test_statistics_follow_the_paper",
    ),
    # 3: diffusion models.
    _at(
        "3",
        "Forward process in closed form: z_t = sqrt(gamma_t) z_0 + sqrt(1 - gamma_t) eps",
        "bridges:VP",
        "tests/test_bridges.py::test_vp_transition_and_posterior_between_any_two_levels",
        erratum="clean sample and size of the noise belong to it; gamma is signal power, of the noise 1 - gamma",
    ),
    _at(
        "3",
        "The joint of the chain: q(z_0) prod q(z_t | z_(t-1)), z_0 ~ q(y)",
        "bridges.bridge:Bridge.q_sample",
        "tests/test_bridges.py::test_ddpm_transition_and_posterior",
        erratum="the product runs over q(z_t | z_(t-1)), not its reverse, and z_0 is drawn from the large pictures",
    ),
    _at(
        "3",
        "Posterior q(z_(t-1) | z_t, z_0), for any two times",
        "bridges.bridge:Bridge.posterior",
        "tests/test_bridges.py::test_posterior_is_the_conditional_of_the_joint_gaussian",
        "tests/test_bridges.py::test_carries_and_variances_compose_at_any_times",
    ),
    _at(
        "3",
        "Schedules of alpha: linear, cosine, those of the methods",
        "schedules:linear",
        "schedules:cosine",
        "tests/test_schedules.py::test_ddpm_linear_table",
        "tests/test_schedules.py::test_nichol_cosine_table",
    ),
    _at(
        "3",
        "Reverse step: mean in terms of the noise, variance alpha or the posterior's",
        "samplers.step:ancestral",
        "tests/test_prediction.py::test_the_mean_of_the_step_in_terms_of_the_noise",
        "tests/samplers/test_step.py::test_the_large_variance_is_ddpms",
        "tests/samplers/test_oracles.py::test_ddpm_in_all_its_steps",
    ),
    _at(
        "3",
        "Variational bound",
        "objectives:variational_term",
        "tests/test_objectives.py::test_the_terms_of_the_bound_add_up_to_the_entropy",
        "tests/test_objectives.py::test_vlb_weights_of_the_papers",
        erratum="the second step is Jensen's inequality; the quantity bounds -log p from above and is minimised, its "
        "negative is the ELBO",
    ),
    _at(
        "3",
        "Simple loss: the squared error of the noise",
        "objectives:Objective",
        "tests/test_prediction.py::test_irreducible_loss_of_noise_prediction",
        "tests/methods/test_sr3.py::test_loss_is_the_error_of_the_noise",
    ),
    _at(
        "3",
        "What the network may predict: noise, clean sample, v, score",
        "prediction:convert",
        "prediction:target",
        "tests/test_prediction.py::test_a_perfect_prediction_gives_the_clean_sample",
        "tests/test_prediction.py::test_implied_weights_of_the_table",
    ),
    _at(
        "3",
        "Learned variance and the hybrid loss",
        "prediction:learned_log_variance",
        "objectives:hybrid_loss",
        "tests/test_prediction.py::test_learned_log_variance",
        "tests/test_objectives.py::test_the_hybrid_loss_trains_the_variance_alone_with_the_bound",
    ),
    _at(
        "3",
        "Score of a noised density",
        "samplers.coordinates:score",
        "tests/test_prediction.py::test_the_score_of_a_gaussian_prior_is_its_gradient",
    ),
    _at(
        "3",
        "Levels of noise: geometric from large to small",
        "schedules:geometric",
        "bridges:VE",
        "tests/test_schedules.py::test_ncsn_levels",
    ),
    _at(
        "3",
        "Denoising score matching",
        "objectives:score_matching_loss",
        "tests/test_objectives.py::test_irreducible_loss_of_score_matching",
        "tests/test_objectives.py::test_the_minimiser_is_the_score_of_the_noised_marginal",
        "tests/test_objectives.py::test_score_matching_is_half_the_simple_loss",
    ),
    _at(
        "3",
        "Langevin step: z + (alpha / 2) score + sqrt(alpha) eps",
        "samplers.langevin:langevin_step",
        "tests/samplers/test_sde.py::test_the_stationary_variance_of_langevin_dynamics",
        "tests/samplers/test_sde.py::test_langevin_dynamics_diverges_beyond_four_variances",
        erratum="the noise is scaled by sqrt(alpha_(t-1)), and this alpha is the size of a Langevin step",
    ),
    _at(
        "3",
        "Annealed Langevin dynamics",
        "samplers.langevin:annealed_langevin",
        "tests/samplers/test_sde.py::test_annealed_langevin_reaches_the_prior",
        erratum="it starts at the largest level, from N(0, sigma_T^2 I); N(0, I) is right where variance is preserved",
    ),
    _at(
        "3",
        "Stochastic equations dz = f dt + g dw, variance preserving, sub-VP and exploding",
        "bridges.bridge:Bridge.diffusion",
        "tests/test_bridges.py::test_diffusions_of_the_papers",
        "tests/test_schedules.py::test_vp_sde",
        "tests/test_bridges.py::test_sub_vp_figures",
        erratum="the limit of the chain is alpha(t / T) = T alpha_t, a product",
    ),
    _at(
        "3",
        "Reverse equation and its predictors",
        "samplers.sde:euler_maruyama",
        "samplers.sde:reverse_diffusion",
        "tests/samplers/test_sde.py::test_euler_maruyama_is_the_formula_of_the_paper",
        "tests/samplers/test_sde.py::test_reverse_diffusion_of_ddpm_is_the_formula_of_the_paper",
    ),
    _at(
        "3",
        "Probability-flow equation",
        "samplers.adaptive:adaptive",
        "tests/samplers/test_sde.py::test_the_adaptive_solver_follows_the_flow",
        "tests/samplers/test_oracles.py::test_ddim_converges_to_the_flow_with_order_one",
    ),
    _at(
        "3",
        "Predictor and corrector",
        "samplers.langevin:LangevinCorrector",
        "tests/samplers/test_sde.py::test_the_corrector_takes_songs_step",
        "tests/samplers/test_sde.py::test_the_corrector_brings_a_wrong_distribution_nearer",
    ),
    _at(
        "3",
        "Likelihood by the flow",
        "samplers.likelihood:log_likelihood",
        "tests/samplers/test_likelihood.py::test_the_figures_of_a_gaussian",
    ),
    _at(
        "3",
        "One network on a continuum of noise levels, preconditioned",
        "prediction:Preconditioning",
        "tests/test_prediction.py::test_edm_figures",
        "tests/methods/test_shared.py::test_every_bridge_gets_the_same_estimate_at_the_same_ratio",
        methods=("shared",),
    ),
    _at(
        "3",
        "DDPM for super-resolution",
        "methods.ddpm_sr:build",
        "networks.ddpm:DDPMUNet",
        "tests/methods/test_recipes.py::test_many_steps_give_the_posterior",
        "tests/methods/test_recipes.py::test_a_network_that_knows_the_picture_gives_it",
        "tests/networks/test_table.py::test_ddpm_has_the_published_number_of_parameters",
        methods=("ddpm-sr",),
    ),
    _at(
        "3",
        "Score networks for super-resolution",
        "methods.ncsn_sr:build",
        "networks.refinenet:RefineNet",
        "tests/methods/test_recipes.py::test_many_steps_give_the_posterior",
        "tests/networks/test_table.py::test_ncsnv2_has_the_number_of_parameters_of_the_released_code",
        methods=("ncsn-sr",),
    ),
    _at(
        "3",
        "Stochastic equations for super-resolution",
        "methods.sde_sr:build",
        "networks.ncsnpp:NCSNpp",
        "tests/methods/test_recipes.py::test_many_steps_give_the_posterior",
        "tests/networks/test_table.py::test_ncsnpp_has_the_number_of_parameters_of_the_released_code",
        methods=("sde-sr",),
    ),
    _later("3", "Relation to variational autoencoders", methods=("vae-sr",)),
    _later("3", "Relation to autoregressive models", methods=("pixel-recursive",)),
    # 4.1: efficient sampling.
    _at(
        "4.1",
        "DDIM",
        "samplers.step:ddim",
        "tests/samplers/test_step.py::test_ddim_update",
        "tests/samplers/test_oracles.py::test_ddim_of_a_gaussian",
    ),
    _at(
        "4.1",
        "Respaced chains: fewer steps of a trained model",
        "schedules:on_nodes",
        "tests/samplers/test_oracles.py::test_respaced_ddpm",
    ),
    _at(
        "4.1",
        "DPM-Solver and DPM-Solver++",
        "samplers.dpm_solver:DPMSolver",
        "samplers.dpm_solver:DPMSolverSDE",
        "tests/samplers/test_fast_solvers.py::test_fast_solvers_figures",
        "tests/samplers/test_fast_solvers.py::test_the_released_third_order_is_a_second_order",
    ),
    _at(
        "4.1",
        "UniPC",
        "samplers.unipc:UniPC",
        "tests/samplers/test_fast_solvers.py::test_identities",
    ),
    _at(
        "4.1",
        "Heun's method and churn",
        "samplers.heun:Heun",
        "samplers.heun:churn",
        "tests/samplers/test_fast_solvers.py::test_edm_figures",
        "tests/samplers/test_fast_solvers.py::test_churn_rises_by_edms_rule_and_asks_no_more",
    ),
    # 4.2: guidance.
    _at(
        "4.2",
        "Classifier guidance",
        "guidance:classifier",
        "methods.classifier_sr:build",
        "networks.classifier:NoisyClassifier",
        "tests/test_guidance.py::test_classifier_guidance_in_noise_is_the_papers",
        "tests/test_guidance.py::test_the_exact_classifier_is_classifier_free_guidance",
        "tests/methods/test_classifier_sr.py::test_the_exact_classifier_gives_the_exact_conditional_denoiser",
        "tests/methods/test_classifier_sr.py::test_a_trained_classifier_comes_near_the_exact_gradient",
        methods=("classifier-sr",),
        erratum="the classifier is trained separately, on noised pictures",
    ),
    _at(
        "4.2",
        "Classifier-free guidance: (1 - lambda) score(z) + lambda score(z | x)",
        "guidance:classifier_free",
        "tests/test_guidance.py::test_the_guided_score_of_two_gaussians",
        "tests/test_guidance.py::test_guidance_is_the_same_in_every_kind_of_prediction",
        "tests/methods/test_guided_recipes.py::test_the_guided_score_of_two_gaussians_is_the_known_one",
        erratum="both terms are scores of z_t, unconditional and given x; neither is that of q(x | z_t)",
    ),
    _at(
        "4.2",
        "Dropped conditions in training",
        "guidance:draw_drops",
        "guidance:drop_condition",
        "conditioning.droppable:Droppable",
        "tests/test_guidance.py::test_conditions_are_dropped_for_single_pictures_on_every_path",
        "tests/methods/test_guided_recipes.py::test_training_drops_the_whole_condition_of_single_pictures",
    ),
    # 4.3: state domains.
    _at(
        "4.3",
        "Pixels",
        "domains.pixel:Pixel",
        "tests/domains/test_pixel.py::test_pictures_come_back_as_they_went_in",
    ),
    _later("4.3", "The latent of an autoencoder, with the small picture beside it: LDM", methods=("ldm",)),
    _later("4.3", "A score prior inside a variational autoencoder: LSGM", methods=("lsgm",)),
    _later("4.3", "The mean-reverting equation in a latent: Refusion", methods=("refusion",)),
    _later("4.3", "A compact latent that guides a regression network: HI-Diff", methods=("hi-diff",)),
    _at(
        "4.3",
        "Sub-bands of an orthonormal Haar transform",
        "domains.subband:SubBand",
        "tests/domains/test_subband.py::test_haar_equals_pywavelets",
        "tests/methods/test_mezzotint_x4.py::test_its_bridge_and_step_pass_the_public_checks",
        methods=("mezzotint-x4", "mezzotint-x2", "mezzotint-x4-real"),
    ),
    _later("4.3", "SR3 in wavelet bands", methods=("wavelet",)),
    _at(
        "4.3",
        "Wavelet bands of a residual: DiWa",
        "methods.diwa:build",
        "tests/methods/test_recipes.py::test_the_wavelet_residual_is_the_pixel_residual_in_other_coordinates",
        "tests/methods/test_recipes.py::test_the_predictor_of_diwa_has_the_published_number_of_parameters",
        methods=("diwa",),
    ),
    _at(
        "4.3",
        "A residual as a process around the small picture (SRDiff, Whang et al., ResDiff)",
        "bridges:MeanReverting",
        "tests/test_bridges.py::test_a_clipped_residual_in_its_own_coordinates_is_srdiffs_bridge",
    ),
    _at(
        "4.3",
        "Residual shifting: the process of ResShift",
        "bridges:ResShift",
        "tests/test_bridges.py::test_resshift_transition_and_posterior",
        "tests/test_bridges.py::test_resshift_official_tables",
    ),
    _at(
        "4.3",
        "Mean-reverting equation: the process of IR-SDE and Refusion",
        "bridges:MeanReverting.ir_sde",
        "objectives:mean_matching_loss",
        "tests/test_bridges.py::test_ir_sde_is_ddpm_in_the_scaled_residual",
        "tests/test_objectives.py::test_ir_sdes_objective",
    ),
    _at(
        "4.3",
        "The residual of the bicubic picture: SRDiff",
        "methods.srdiff:build",
        "networks.mish_unet:MishUNet",
        "tests/methods/test_recipes.py::test_the_residual_is_clipped_and_zeros_are_the_enlargement",
        "tests/networks/test_table.py::test_srdiff_has_the_published_number_of_parameters",
        methods=("srdiff",),
    ),
    _later("4.3", "The residual of a predictor trained with it: Whang et al.", methods=("stochastic-refinement",)),
    _later("4.3", "The residual of a frozen network, with frequencies: ResDiff", methods=("resdiff",)),
    _at(
        "4.3",
        "ResShift",
        "methods.resshift:build",
        "networks.swin_unet:SwinUNet",
        "tests/methods/test_recipes.py::test_the_spread_of_a_gaussian_is_the_known_one",
        "tests/methods/test_recipes.py::test_a_network_that_knows_the_picture_gives_it",
        "tests/networks/test_table.py::test_resshift_has_the_published_number_of_parameters",
        methods=("resshift",),
    ),
    # 4.4: conditioning.
    _at(
        "4.4",
        "The enlarged small picture beside the state: SR3",
        "conditioning.low_resolution:LowResolution",
        "methods.sr3:build",
        "tests/methods/test_sr3.py::test_samples_have_the_mean_and_covariance_of_the_posterior",
        "tests/methods/test_sr3.py::test_official_presets_have_the_published_number_of_parameters",
        methods=("sr3",),
        erratum="noise is added to the large picture, the small one only conditions, and sampling starts from N(0, I)",
    ),
    _at(
        "4.4",
        "SR3's step: (z - alpha / sqrt(1 - gamma) eps_hat) / sqrt(1 - alpha) + sqrt(alpha) eps",
        "methods.sr3:walk",
        "tests/methods/test_sr3.py::test_one_step_is_the_formula_of_the_sheet",
        erratum="as printed, alpha is SR3's own retained fraction; where alpha is added variance, as in the survey's "
        "forward process, it stands as here",
    ),
    _at(
        "4.4",
        "SR3's schedule, free in the number of steps",
        "schedules:sr3",
        "tests/test_schedules.py::test_sr3_table",
        "tests/methods/test_sr3.py::test_few_steps_end_where_two_thousand_do",
    ),
    _later("4.4", "Conditioning on a super-resolved picture", methods=("cdpmsr",)),
    _at(
        "4.4",
        "A chain shifted by a coarse picture: DiffuseVAE's second form",
        "bridges:Shifted",
        "tests/test_bridges.py::test_a_shifted_chain_is_the_chain_around_the_picture",
    ),
    _later("4.4", "Conditioning on a coarse picture of an autoencoder", methods=("diffusevae",)),
    _later("4.4", "Implicit functions for any scale", methods=("idm",)),
    _later("4.4", "Diffusion where attention is high", methods=("yoda",)),
    # 4.5: corruption spaces.
    _at(
        "4.5",
        "Linear corruption with noise: the process and loss of Soft Score Matching",
        "bridges:SoftBlur",
        "objectives:corrupted_loss",
        "samplers.soft_score_matching:momentum",
        "tests/test_bridges.py::test_soft_blur_is_a_scalar_bridge_at_every_frequency",
        "tests/test_objectives.py::test_soft_score_matching_compares_what_is_left",
        "tests/samplers/test_table.py::test_momentum_is_the_reverse_step_of_an_operator",
    ),
    _at(
        "4.5",
        "Corruption without noise: the processes and both algorithms of Cold Diffusion",
        "bridges:Cold",
        "bridges:Animorphosis",
        "samplers.cold_diffusion:cold",
        "tests/test_bridges.py::test_pixelate",
        "tests/samplers/test_table.py::test_the_second_algorithm_is_exact_for_absurd_estimates_on_a_line",
    ),
    _at(
        "4.5",
        "A Schroedinger bridge between pairs: the process of I2SB",
        "bridges:Pinned.i2sb",
        "tests/test_bridges.py::test_i2sb_official_figures",
        "tests/test_bridges.py::test_i2sb_marginal_posterior_and_forward_step",
    ),
    _at(
        "4.5",
        "A straight line between pairs: the process and step of InDI",
        "bridges:InDI",
        "samplers.indi:indi",
        "tests/test_bridges.py::test_indi_update_and_its_relatives",
        "tests/samplers/test_table.py::test_indi_figures",
    ),
    _later("4.5", "Soft Score Matching", methods=("soft-score-matching",)),
    _at(
        "4.5",
        "Cold Diffusion",
        "methods.cold_diffusion:build",
        "networks.convnext_unet:ConvNeXtUNet",
        "tests/methods/test_recipes.py::test_a_network_that_knows_the_picture_gives_it",
        "tests/networks/test_table.py::test_cold_diffusion_has_the_published_number_of_parameters",
        methods=("cold-diffusion",),
    ),
    _at(
        "4.5",
        "I2SB",
        "methods.i2sb:build",
        "networks.adm:ADM",
        "tests/methods/test_recipes.py::test_i2sb_starts_at_the_small_picture_and_ot_ode_is_deterministic",
        "tests/networks/test_table.py::test_adm_has_the_published_number_of_parameters",
        methods=("i2sb",),
    ),
    _at(
        "4.5",
        "InDI",
        "methods.indi:build",
        "tests/methods/test_recipes.py::test_one_step_of_indi_is_its_regressor",
        methods=("indi",),
    ),
    # 4.6: colour shift.
    _at(
        "4.6",
        "Colour normalisation",
        "colour:match_moments",
        "tests/test_colour.py::test_moments_are_those_of_the_reference",
        "tests/test_colour.py::test_casts_of_a_channel_are_undone",
        "tests/upscaler/test_colour.py::test_the_result_is_that_of_the_whole_picture",
        erratum="it takes the mean and the standard deviation of every channel, not picture and variance",
    ),
    _at(
        "4.6",
        "Wavelet correction of colours",
        "colour:match_low_frequencies",
        "tests/test_colour.py::test_the_transform_is_the_written_one_and_adds_up",
        "tests/test_colour.py::test_the_impulse_has_the_figures_of_the_sheet",
        "tests/test_colour.py::test_an_offset_is_removed_exactly_and_detail_stays",
    ),
    # 5: zero-shot.
    _at(
        "5",
        "Time travel: walks that go up again (RePaint)",
        "schedules:time_travel",
        "tests/test_schedules.py::test_walks_of_time_travel",
        "tests/samplers/test_oracles.py::test_time_travel_keeps_the_distribution",
    ),
    _at(
        "5",
        "A prior that knows no small picture, and measurements of any linear operator",
        "methods.prior:Prior",
        "methods.restorer:Restorer",
        "zero_shot.measurement:Measurement",
        "tests/methods/test_prior.py::test_the_estimate_is_the_same_at_one_noise_level_on_every_bridge",
        "tests/zero_shot/test_oracles.py::test_the_true_covariance_gives_the_posterior_in_five_steps",
        "tests/zero_shot/test_solvers.py::test_nothing_measured_is_the_prior_alone",
        methods=("prior",),
    ),
    _at(
        "5",
        "The known part in the noise of each time: RePaint",
        "zero_shot.repaint:RePaint",
        "zero_shot.replacement:Replace",
        "tests/zero_shot/test_oracles.py::test_what_is_not_measured",
        "tests/zero_shot/test_oracles.py::test_what_is_not_measured_in_many_steps",
        "tests/zero_shot/test_solvers.py::test_repaint_asks_2410_times_and_goes_up_2160_levels",
        methods=("repaint",),
        erratum="where the reference is pasted, what is added is its projection, P (a A+ x + s eps), not x itself",
    ),
    _at(
        "5",
        "A start half-way, and projections: CCDF",
        "zero_shot.ccdf:CCDF",
        "tests/zero_shot/test_oracles.py::test_ccdf_forgets_its_guess",
        "tests/zero_shot/test_oracles.py::test_ccdf_from_noise_is_ilvr_and_one_pass_of_repaint",
        "tests/zero_shot/test_solvers.py::test_a_measurement_without_noise_is_met_whatever_the_prior",
        methods=("ccdf",),
    ),
    _at(
        "5",
        "Low frequencies of the reference in every step: ILVR",
        "zero_shot.ilvr:ILVR",
        "zero_shot.ilvr:LowPass",
        "tests/zero_shot/test_oracles.py::test_a_row_like_a_picture",
        "tests/zero_shot/test_oracles.py::test_ccdf_from_noise_is_ilvr_and_one_pass_of_repaint",
        methods=("ilvr",),
        erratum="the model is an unconditional DDPM on pixels, not a latent one",
    ),
    _at(
        "5",
        "Langevin dynamics in singular values: SNIPS",
        "zero_shot.snips:SNIPS",
        "tests/zero_shot/test_oracles.py::test_snips_has_its_stationary_law",
        "tests/zero_shot/test_solvers.py::test_snips_stands_still_where_its_noise_is_the_level",
        methods=("snips",),
    ),
    _at(
        "5",
        "Variational steps in singular values: DDRM",
        "zero_shot.ddrm:DDRM",
        "tests/zero_shot/test_oracles.py::test_one_measured_number",
        "tests/zero_shot/test_oracles.py::test_a_strict_comparison_leaves_a_residual",
        "tests/zero_shot/test_solvers.py::test_ddrm_ends_at_a_measurement_that_is_as_good_as_exact",
        methods=("ddrm",),
    ),
    _at(
        "5",
        "Range and null space: DDNM",
        "zero_shot.ddnm:DDNM",
        "zero_shot.measurement:Measurement.project",
        "tests/zero_shot/test_oracles.py::test_what_is_not_measured",
        "tests/zero_shot/test_oracles.py::test_without_noise_ddnm_is_ddrm",
        "tests/zero_shot/test_oracles.py::test_a_row_like_a_picture",
        "tests/zero_shot/test_solvers.py::test_a_measurement_without_noise_is_met_whatever_the_prior",
        methods=("ddnm",),
        erratum="both denominators of the posterior are 1 - gamma_t, the product starts at 1, the range part is A+ x",
    ),
    _at(
        "5",
        "The gradient of the measurement's error: DPS",
        "zero_shot.dps:DPS",
        "zero_shot.gradients:through",
        "tests/zero_shot/test_oracles.py::test_one_measured_number",
        "tests/zero_shot/test_solvers.py::test_the_gradient_of_the_residual_is_that_of_differences",
        "tests/zero_shot/test_solvers.py::test_the_norm_is_that_of_each_picture",
        methods=("dps",),
        erratum="the score of the prior at z_t is a term of the step, and a Gaussian likelihood has 1 / (2 sigma^2)",
    ),
    _at(
        "5",
        "The gradient, with the degradation fitted: GDP",
        "zero_shot.gdp:GDP",
        "tests/zero_shot/test_oracles.py::test_gdp_pulls_by_the_strength_over_the_number_of_values",
        "tests/zero_shot/test_solvers.py::test_blind_gdp_recovers_factor_and_map_of_a_constant_picture",
        methods=("gdp",),
        erratum="Q stands inside the exponent, exp(-[s L + lambda Q])",
    ),
)


def is_there(place: str) -> bool:
    """Whether a module, or the name in a module ("module:name", "module:Class.name"), can be imported."""
    module, _, name = place.partition(":")
    try:
        if importlib.util.find_spec(module) is None:
            return False
    except ModuleNotFoundError:
        return False
    found = importlib.import_module(module)
    for part in name.split(".") if name else ():
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def faults(idea: Idea) -> list[str]:
    """What is wrong with a row, of all that needs no tests beside it; empty for a sound one."""
    known = {card.name: card.survey_section for card in methods.cards()}
    found = []
    if idea.section not in SECTIONS:
        found.append(f"section {idea.section!r} is no chapter of {', '.join(SECTIONS)}")
    if idea.not_yet:
        if idea.not_yet not in SECTIONS:
            found.append(f"chapter {idea.not_yet!r} is none of {', '.join(SECTIONS)}")
        if idea.tests or not (idea.functions or idea.methods):
            found.append("a row that is not yet there names the function or the method to come, and no tests")
        arrived = [place for place in idea.functions if is_there(place)] + [m for m in idea.methods if m in known]
        found += [f"{place} exists by now: name its function and test in place of the mark" for place in arrived]
        return found
    if not idea.functions or not idea.tests:
        found.append("neither a function and a test nor the mark of what is not yet there")
    found += [f"function {place!r} does not exist" for place in idea.functions if not is_there(place)]
    for method in idea.methods:
        if method not in known:
            found.append(f"method {method!r} is not in the table of methods")
        elif known[method] and not f"{known[method]}.".startswith(f"{idea.section}."):
            found.append(f"method {method!r} belongs to section {known[method]} in the table of methods")
    return found


def page() -> Iterator[str]:
    """The lines of docs/survey.md."""
    yield "# The survey and the code"
    yield ""
    yield from textwrap.wrap(_INTRODUCTION, 120, break_on_hyphens=False, break_long_words=False)
    for chapter, title in SECTIONS.items():
        rows = [idea for idea in IDEAS if idea.section == chapter]
        yield ""
        yield f"## {chapter} {title}"
        yield ""
        yield "| idea | read | function | test | methods |"
        yield "|---|---|---|---|---|"
        for idea in rows:
            yield "| " + " | ".join(_cells(idea)) + " |"


def _cells(idea: Idea) -> tuple[str, ...]:
    functions = "<br>".join(f"`{place}`" for place in idea.functions)
    if idea.not_yet:
        functions = f"not yet, chapter {idea.not_yet}" + (f": {functions}" if functions else "")
    tests = "<br>".join(f"`{place}`" for place in idea.tests)
    # A bar would end the cell.
    name, erratum = (text.replace("|", "\\|") for text in (idea.name, idea.erratum))
    return name, erratum, functions, tests, ", ".join(idea.methods)


if __name__ == "__main__":
    print("\n".join(page()))
